// NVRTC, CUDA's compiler as a library, found when something is to be compiled: only its header is
// needed to build, and it needs no device.
#pragma once
#include <nvrtc.h>

#include <memory>
#include <string>

namespace tokamak {

class Nvrtc {
 public:
  // Null where the library or one of its functions is missing; `why` says which.
  static std::shared_ptr<const Nvrtc> load(std::string* why);

  // The image of a CUDA C++ source for a device of compute capability `sm`. Error: the compiler's
  // messages.
  std::string compile(const std::string& source, int sm) const;

 private:
  Nvrtc() = default;
  void check(nvrtcResult status, const char* call) const;
  std::string log(nvrtcProgram program) const;

  decltype(&nvrtcCreateProgram) create_ = nullptr;
  decltype(&nvrtcDestroyProgram) destroy_ = nullptr;
  decltype(&nvrtcCompileProgram) compile_ = nullptr;
  decltype(&nvrtcGetCUBINSize) image_size_ = nullptr;
  decltype(&nvrtcGetCUBIN) image_ = nullptr;
  decltype(&nvrtcGetProgramLogSize) log_size_ = nullptr;
  decltype(&nvrtcGetProgramLog) log_ = nullptr;
  decltype(&nvrtcGetErrorString) error_ = nullptr;
};

}  // namespace tokamak
