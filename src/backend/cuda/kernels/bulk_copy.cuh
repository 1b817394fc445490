// Copies from device to shared memory by the copy engine (sm_90), which report to barriers in
// shared memory. Used by kernels that keep many bytes in flight with one thread.
#pragma once
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "backend/cuda/kernels/shared_address.cuh"

namespace tokamak::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define TOKAMAK_HAS_BULK_COPY 1

// A phase of a barrier ends when `arrivals` threads have arrived and the bytes that they announced
// are there.
__device__ inline void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals));
}
__device__ inline void barrier_init_fence() {  // before copies may report to them
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// At that of another block of the cluster. Orders nothing: what was read has been read by tensor
// cores. A release over the cluster would wait for memory, which made products take half as long
// again.
__device__ inline void arrive_at(uint64_t* barrier, uint32_t block) {
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(block)
      : "memory");
}
__device__ inline void arrive_if(bool condition, uint64_t* barrier) {  // without a branch
  asm volatile(
      "{\n"
      ".reg .pred go;\n"
      "setp.ne.b32 go, %1, 0;\n"
      "@go mbarrier.arrive.shared::cta.b64 _, [%0];\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(int{condition})
      : "memory");
}
__device__ inline void arrive_expecting(uint64_t* barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
// Returns when the phase of this parity has ended.
__device__ inline void wait_phase(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra end;\n"
      "bra again;\n"
      "end:\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Stages in shared memory that are filled and emptied in turns, and a place among them.
struct StageRing {
  char* data;
  uint64_t *full, *empty;
};
struct StagePlace {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void next(int stages) {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

// Addresses and sizes are multiples of 16.
__device__ inline void copy_bulk(void* shared, const void* global, uint32_t bytes,
                                 uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
// A box of a matrix; what lies outside comes as zeros.
__device__ inline void copy_box(void* shared, const CUtensorMap* map, int column, int row,
                                uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, "
      "{%2, %3}], [%4];" ::"r"(shared_address(shared)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier))
      : "memory");
}
// A box of a tensor of four dimensions, the innermost one first.
__device__ inline void copy_box(void* shared, const CUtensorMap* map, int c0, int c1, int c2,
                                int c3, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, "
      "{%2, %3, %4, %5}], [%6];" ::"r"(shared_address(shared)),
      "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(shared_address(barrier))
      : "memory");
}
// Whole rows of units of a matrix.
__device__ inline void copy_box3(void* shared, const CUtensorMap* map, int row, int unit,
                                 uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, "
      "{%2, %3, %4}], [%5];" ::"r"(shared_address(shared)),
      "l"(map), "r"(0), "r"(row), "r"(unit), "r"(shared_address(barrier))
      : "memory");
}
// copy_box() of a matrix into both blocks of a cluster of two, reported to the barrier of each.
__device__ inline void copy_box_to_both(void* shared, const CUtensorMap* map, int column, int row,
                                        uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
      "multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(shared)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier)), "h"(static_cast<uint16_t>(3))
      : "memory");
}
// Likewise copy_box3().
__device__ inline void copy_box3_to_both(void* shared, const CUtensorMap* map, int row, int unit,
                                         uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
      "multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(shared_address(shared)),
      "l"(map), "r"(0), "r"(row), "r"(unit), "r"(shared_address(barrier)),
      "h"(static_cast<uint16_t>(3))
      : "memory");
}
__device__ inline void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// What threads have stored in shared memory comes before what the copy engine and the tensor cores
// read of it.
__device__ inline void fence_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
#endif

}  // namespace tokamak::cuda
