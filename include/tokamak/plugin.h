/* An op of your own in a library of your own: the C interface between Tokamak and a plug-in.
 *
 * A plug-in is a shared library that exports one function,
 *     const tokamak_plugin* tokamak_plugin_entry(void);
 * and is named where it is needed: --plugin PATH.so on build, run, serve and bench, or
 * network::Plugin. Only C types cross the border, so a plug-in needs neither Tokamak's compiler nor
 * its version: structs may grow at their end and carry their size, and a plug-in of another
 * TOKAMAK_PLUGIN_ABI is refused. docs/plugins.md shows how to write one, examples/plugin/ is one.
 *
 * Functions may be called by several threads at once, except create and destroy of one object. They
 * must not let C++ exceptions out. Where a function can fail it returns a negative number, or null,
 * and writes why into its tokamak_error.
 */
#ifndef TOKAMAK_PLUGIN_H
#define TOKAMAK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TOKAMAK_PLUGIN_ABI 1
#define TOKAMAK_PLUGIN_ENTRY "tokamak_plugin_entry"

/* Element types of operands. */
enum { TOKAMAK_F32 = 0, TOKAMAK_F16 = 1, TOKAMAK_BF16 = 2, TOKAMAK_I32 = 3 };

enum { TOKAMAK_MAX_DIMS = 6, TOKAMAK_MAX_OPERANDS = 16, TOKAMAK_MAX_OUTPUTS = 8 };

/* Sizes that are known only when a step runs: its tokens, and the rows whose logits are wanted.
 * They stand for a first dimension. */
enum { TOKAMAK_TOKENS = -1, TOKAMAK_SEQUENCES = -2 };

typedef struct tokamak_type {
  int32_t dtype;
  int32_t dims;
  int64_t size[TOKAMAK_MAX_DIMS]; /* row-major; or TOKAMAK_TOKENS, TOKAMAK_SEQUENCES */
  int32_t is_weight;              /* constant, from the checkpoint */
  int32_t reserved;
} tokamak_type;

typedef struct tokamak_error {
  char text[512]; /* ends with a zero */
} tokamak_error;

/* An attribute as the graph has it, written as text: "0.5", "7", "true", "silu". */
typedef struct tokamak_attribute {
  const char* name;
  const char* value;
} tokamak_attribute;

/* An operand in memory: `rows` rows of `width` elements, `stride` elements apart. Rows are the
 * product of all dimensions but the last. packed: a matrix weight in the op's own layout. */
typedef struct tokamak_operand {
  void* data;
  int64_t rows, width, stride;
  int32_t dtype;
  int32_t packed;
} tokamak_operand;

/* One use of the op in a step. */
typedef struct tokamak_launch {
  size_t struct_bytes;
  const tokamak_operand* in;
  const tokamak_operand* out;
  int32_t inputs, outputs;
  int64_t tokens, sequences; /* of the step */
  /* CPU: every worker calls the function for the same launch with a number of its own and does its
   * share of the rows. They meet when all have returned. CUDA: 0 and 1. */
  int32_t worker, workers;
  void* scratch; /* scratch_bytes() for this launch, aligned to 64; shared by the workers */
} tokamak_launch;

/* A second way to store matrix weights [n, k], beside rows as in the checkpoint. The tuner times
 * the op with both; tokamak_operand.packed says which one a launch has. */
typedef struct tokamak_layout {
  size_t struct_bytes;
  const char* name; /* letters, digits, _ */
  /* Bytes of a packed weight; 0: not of this type. */
  size_t (*packed_bytes)(int32_t dtype, int64_t n, int64_t k);
  /* Rows that are packed together: pack is called for rows [begin, end) of `source`, the whole
   * weight, where begin is a multiple of this and so is end, but for the last rows. */
  int64_t row_step;
  void (*pack)(int32_t dtype, int64_t n, int64_t k, const void* source, void* packed, int64_t begin,
               int64_t end);
  /* The exact inverse, all rows. */
  void (*unpack)(int32_t dtype, int64_t n, int64_t k, const void* packed, void* rows);
} tokamak_layout;

typedef struct tokamak_op {
  size_t struct_bytes;
  const char* name; /* letters, digits, _ */

  /* Reads the attributes: an object of the op's own, which the functions below get. Error: one that
   * is missing, unknown or has no meaning. */
  void* (*create)(const tokamak_attribute* attributes, int32_t count, tokamak_error* error);
  void (*destroy)(void* op);
  /* The types of the outputs (up to TOKAMAK_MAX_OUTPUTS); returns how many there are. Error: what
   * is wrong with which operand. */
  int32_t (*infer)(const void* op, const tokamak_type* inputs, int32_t count, tokamak_type* outputs,
                   tokamak_error* error);
  /* Optional. Bytes that a step must move and floating point operations that it must do; without it
   * the bytes of all operands, and one operation per element. */
  void (*cost)(const void* op, const tokamak_type* inputs, int32_t count, int64_t tokens,
               int64_t sequences, double* bytes, double* operations);
  /* Optional. Memory beside the operands. */
  size_t (*scratch_bytes)(const void* op, const tokamak_type* inputs, int32_t count, int64_t tokens,
                          int64_t sequences, int32_t workers);
  /* Either may be null, where the op does not run on such a device. run_cuda enqueues on `stream`
   * (a cudaStream_t) and returns at once: it must not wait, allocate or read device memory, for it
   * may be recorded into a CUDA graph. It returns 0, or a negative number and an error. */
  void (*run_cpu)(const void* op, const tokamak_launch* launch);
  int32_t (*run_cuda)(const void* op, const tokamak_launch* launch, void* stream,
                      tokamak_error* error);
  /* Optional; for both devices. */
  const tokamak_layout* layout;
} tokamak_op;

typedef struct tokamak_plugin {
  uint32_t abi; /* TOKAMAK_PLUGIN_ABI */
  uint32_t op_count;
  size_t struct_bytes;
  const char* name;    /* of the library, e.g. "gates"; engines know it by this */
  const char* version; /* e.g. "1.0" */
  const tokamak_op* const* ops;
} tokamak_plugin;

typedef const tokamak_plugin* (*tokamak_plugin_entry_function)(void);

#ifdef __cplusplus
}
#endif

#endif
