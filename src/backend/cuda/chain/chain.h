// chain on CUDA: "chain.reference" interprets the program; "chain.compiled" is a kernel generated
// for it, compiled by NVRTC when an engine is built and kept in the engine file.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

// Compiled code by key: what was compiled in this process, and what engine files brought.
class CodeStore {
 public:
  void add(const CompiledCode& code);
  bool has(const std::string& key) const;
  std::string get(const std::string& key) const;  // empty when it is not there

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> images_;
};

void add_cuda_chain(CudaRegistry& r);

}  // namespace tokamak
