/* What the two parts of the plug-in share. */
#pragma once
#include "tokamak/plugin.h"

struct gate {
  float scale;
};

#ifdef __cplusplus
extern "C"
#endif
    int32_t
    gates_run_cuda(const void* op, const tokamak_launch* launch, void* stream,
                   tokamak_error* error);
