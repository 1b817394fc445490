/* A plug-in with one op, relu2_gate: (a, b) -> scale * max(a, 0)^2 * b, the gate of squared-ReLU
 * MLPs. float32, float16 and bfloat16; on the CPU in float32 arithmetic, on CUDA devices where it
 * was built with nvcc (gates_cuda.cu). Attribute scale: a number, 1 when it is not given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gates.h"

static void* create(const tokamak_attribute* attributes, int32_t count, tokamak_error* error) {
  struct gate gate = {1.0f};
  for (int32_t i = 0; i < count; ++i) {
    char* end = NULL;
    if (strcmp(attributes[i].name, "scale") != 0) {
      snprintf(error->text, sizeof error->text, "attribute '%s' is unknown; known: scale",
               attributes[i].name);
      return NULL;
    }
    gate.scale = strtof(attributes[i].value, &end);
    if (end == attributes[i].value || *end != 0) {
      snprintf(error->text, sizeof error->text, "scale is '%s', expected a number",
               attributes[i].value);
      return NULL;
    }
  }
  struct gate* made = malloc(sizeof gate);
  if (made == NULL)
    snprintf(error->text, sizeof error->text, "out of memory");
  else
    *made = gate;
  return made;
}

static int same_shape(const tokamak_type* a, const tokamak_type* b) {
  if (a->dtype != b->dtype || a->dims != b->dims) return 0;
  for (int32_t i = 0; i < a->dims; ++i)
    if (a->size[i] != b->size[i]) return 0;
  return 1;
}

static int32_t infer(const void* op, const tokamak_type* inputs, int32_t count,
                     tokamak_type* outputs, tokamak_error* error) {
  (void)op;
  if (count != 2 || inputs[0].dtype == TOKAMAK_I32 || !same_shape(&inputs[0], &inputs[1])) {
    snprintf(error->text, sizeof error->text, "expected two floats of equal shape and dtype");
    return -1;
  }
  outputs[0] = inputs[0];
  outputs[0].is_weight = 0;
  return 1;
}

static float from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
static uint32_t to_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

static float half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u) return from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400u) return from_bits(sign | ((magnitude + 0x1c000u) << 13));
  return from_bits(sign | to_bits((float)magnitude * 0x1p-24f));
}
static uint16_t float_to_half(float f) {
  const uint32_t u = to_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
  if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
  if (a < 0x38800000u) return (uint16_t)(sign | (to_bits(from_bits(a) + 0.5f) - 0x3f000000u));
  return (uint16_t)(sign | ((a + 0xfffu + (a >> 13 & 1u) - 0x38000000u) >> 13));
}
static uint16_t float_to_bfloat(float f) {
  const uint32_t u = to_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
  return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* Elements as float32. */
static float load(int32_t dtype, const void* row, int64_t i) {
  if (dtype == TOKAMAK_F32) return ((const float*)row)[i];
  const uint16_t h = ((const uint16_t*)row)[i];
  return dtype == TOKAMAK_F16 ? half_to_float(h) : from_bits((uint32_t)h << 16);
}

static void store(int32_t dtype, void* row, int64_t i, float f) {
  if (dtype == TOKAMAK_F32)
    ((float*)row)[i] = f;
  else
    ((uint16_t*)row)[i] = dtype == TOKAMAK_F16 ? float_to_half(f) : float_to_bfloat(f);
}

static char* row_of(const tokamak_operand* x, int64_t r) {
  return (char*)x->data + r * x->stride * (x->dtype == TOKAMAK_F32 ? 4 : 2);
}

/* Every worker does its share of the rows; one row alone is shared out by columns. */
static void run_cpu(const void* op, const tokamak_launch* l) {
  const float scale = ((const struct gate*)op)->scale;
  const tokamak_operand *a = &l->in[0], *b = &l->in[1], *y = &l->out[0];
  const int64_t elements = y->rows * y->width;
  const int64_t begin = elements * l->worker / l->workers;
  const int64_t end = elements * (l->worker + 1) / l->workers;
  for (int64_t i = begin; i < end;) {
    const int64_t r = i / y->width, first = i % y->width;
    const int64_t last = first + (end - i) < y->width ? first + (end - i) : y->width;
    const char *row_a = row_of(a, r), *row_b = row_of(b, r);
    char* row_y = row_of(y, r);
    if (y->dtype == TOKAMAK_F32) { /* a loop that compilers make vectors of */
      const float *fa = (const float*)row_a, *fb = (const float*)row_b;
      float* fy = (float*)row_y;
      for (int64_t c = first; c < last; ++c) {
        const float x = fa[c] < 0 ? 0 : fa[c];
        fy[c] = scale * x * x * fb[c];
      }
    } else {
      for (int64_t c = first; c < last; ++c) {
        const float v = load(a->dtype, row_a, c), x = v < 0 ? 0 : v;
        store(y->dtype, row_y, c, scale * x * x * load(b->dtype, row_b, c));
      }
    }
    i += last - first;
  }
}

static void cost(const void* op, const tokamak_type* inputs, int32_t count, int64_t tokens,
                 int64_t sequences, double* bytes, double* operations) {
  (void)op;
  (void)count;
  double n = 1;
  for (int32_t i = 0; i < inputs[0].dims; ++i) {
    const int64_t s = inputs[0].size[i];
    n *= (double)(s == TOKAMAK_TOKENS ? tokens : s == TOKAMAK_SEQUENCES ? sequences : s);
  }
  *bytes = 3 * n * (inputs[0].dtype == TOKAMAK_F32 ? 4 : 2);
  *operations = 4 * n;
}

static const tokamak_op relu2_gate = {
    .struct_bytes = sizeof(tokamak_op),
    .name = "relu2_gate",
    .create = create,
    .destroy = free,
    .infer = infer,
    .cost = cost,
    .run_cpu = run_cpu,
#ifdef GATES_CUDA
    .run_cuda = gates_run_cuda,
#endif
};

const tokamak_plugin* tokamak_plugin_entry(void) {
  static const tokamak_op* const ops[] = {&relu2_gate};
  static const tokamak_plugin plugin = {
      .abi = TOKAMAK_PLUGIN_ABI,
      .op_count = 1,
      .struct_bytes = sizeof(tokamak_plugin),
      .name = "gates",
      .version = "1.0",
      .ops = ops,
  };
  return &plugin;
}
