/* Plug-ins for the tests, one per definition test_KIND: good, wrong_abi, no_entry, no_run. The op
 * is a linear, y = x * weight^T in float32, that can also take its weight packed: columns of rows.
 */
#include <stdio.h>
#include <string.h>

#include "tokamak/plugin.h"

static int object;

static void* create(const tokamak_attribute* attributes, int32_t count, tokamak_error* error) {
  (void)attributes;
  if (count == 0) return &object;
  snprintf(error->text, sizeof error->text, "takes no attributes");
  return NULL;
}
static void destroy(void* op) { (void)op; }

static int32_t infer(const void* op, const tokamak_type* in, int32_t count, tokamak_type* out,
                     tokamak_error* error) {
  (void)op;
  if (count != 2 || !in[1].is_weight || in[1].dims != 2 || in[0].dims != 2 ||
      in[0].size[1] != in[1].size[1]) {
    snprintf(error->text, sizeof error->text, "expected rows and a weight of their width");
    return -1;
  }
  out[0] = in[0];
  out[0].size[1] = in[1].size[0];
  out[1] = out[0];
  out[1].size[1] = 1; /* 1 where the weight was packed, else 0 */
  return 2;
}

static size_t scratch_bytes(const void* op, const tokamak_type* in, int32_t count, int64_t tokens,
                            int64_t sequences, int32_t workers) {
  (void)op, (void)in, (void)count, (void)tokens, (void)sequences;
  return (size_t)workers * 64;
}

static void run_cpu(const void* op, const tokamak_launch* l) {
  (void)op;
  const tokamak_operand *x = &l->in[0], *w = &l->in[1], *y = &l->out[0];
  float* sum = (float*)((char*)l->scratch + l->worker * 64);
  for (int64_t r = l->worker; r < y->rows; r += l->workers) {
    for (int64_t n = 0; n < y->width; ++n) {
      *sum = 0;
      for (int64_t k = 0; k < x->width; ++k) {
        const float weight =
            ((const float*)w->data)[w->packed ? k * w->rows + n : n * w->width + k];
        *sum += ((const float*)x->data)[r * x->stride + k] * weight;
      }
      ((float*)y->data)[r * y->stride + n] = *sum;
    }
    ((float*)l->out[1].data)[r * l->out[1].stride] = (float)w->packed;
  }
}

static size_t packed_bytes(int32_t dtype, int64_t n, int64_t k) {
  return dtype == TOKAMAK_F32 ? (size_t)(n * k) * 4 : 0;
}
static void pack(int32_t dtype, int64_t n, int64_t k, const void* source, void* packed,
                 int64_t begin, int64_t end) {
  (void)dtype;
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < k; ++c) ((float*)packed)[c * n + r] = ((const float*)source)[r * k + c];
}
static void unpack(int32_t dtype, int64_t n, int64_t k, const void* packed, void* rows) {
  (void)dtype;
  for (int64_t r = 0; r < n; ++r)
    for (int64_t c = 0; c < k; ++c) ((float*)rows)[r * k + c] = ((const float*)packed)[c * n + r];
}

static const tokamak_layout columns = {
    .struct_bytes = sizeof(tokamak_layout),
    .name = "columns",
    .packed_bytes = packed_bytes,
    .row_step = 1,
    .pack = pack,
    .unpack = unpack,
};

static const tokamak_op op = {
    .struct_bytes = sizeof(tokamak_op),
    .name = "columns_linear",
    .create = create,
    .destroy = destroy,
    .infer = infer,
    .scratch_bytes = scratch_bytes,
#ifndef test_no_run
    .run_cpu = run_cpu,
#endif
    .layout = &columns,
};

#ifdef test_no_entry
#define tokamak_plugin_entry some_other_function
#endif
const tokamak_plugin* tokamak_plugin_entry(void) {
  static const tokamak_op* const ops[] = {&op};
  static const tokamak_plugin plugin = {
#ifdef test_wrong_abi
      .abi = 99,
#else
      .abi = TOKAMAK_PLUGIN_ABI,
#endif
      .op_count = 1,
      .struct_bytes = sizeof(tokamak_plugin),
      .name = "test",
      .version = "0.1",
      .ops = ops,
  };
  return &plugin;
}
