// The CPU as a backend: a pool of workers, memory in huge pages, tactics of every ISA level.
#pragma once
#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/cpu/topology.h"

namespace tokamak {

struct CpuOptions {
  int workers = 0;         // 0: the physical cores that this process may use
  std::string isa;         // empty: TOKAMAK_ISA, else the best this machine has
  bool pin = true;         // bind workers to cores when there are enough
  int idle_spin_us = 500;  // how long idle workers stay awake between steps
  Placement placement = Placement::compact;
};

// Error: an ISA level that this machine lacks, a negative or absurd number of workers.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});

}  // namespace tokamak
