#include "backend/cuda/chain/nvrtc.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "base/error.h"

namespace tokamak {

std::shared_ptr<const Nvrtc> Nvrtc::load(std::string* why) {
  const std::string name = "libnvrtc.so." + std::to_string(CUDART_VERSION / 1000);
  void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays: its code is in use
  if (library == nullptr) {
    *why = ::dlerror();
    return nullptr;
  }
  std::shared_ptr<Nvrtc> rtc(new Nvrtc);
  bool complete = true;
  const auto find = [&](auto& function, const char* symbol) {
    function =
        reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, symbol));
    if (function != nullptr) return;
    complete = false;
    *why = name + " has no " + symbol;
  };
  find(rtc->create_, "nvrtcCreateProgram");
  find(rtc->destroy_, "nvrtcDestroyProgram");
  find(rtc->compile_, "nvrtcCompileProgram");
  find(rtc->image_size_, "nvrtcGetCUBINSize");
  find(rtc->image_, "nvrtcGetCUBIN");
  find(rtc->log_size_, "nvrtcGetProgramLogSize");
  find(rtc->log_, "nvrtcGetProgramLog");
  find(rtc->error_, "nvrtcGetErrorString");
  return complete ? rtc : nullptr;
}

void Nvrtc::check(nvrtcResult status, const char* call) const {
  if (status != NVRTC_SUCCESS) fail("{} failed: {}", call, error_(status));
}

std::string Nvrtc::log(nvrtcProgram program) const {
  size_t bytes = 0;
  check(log_size_(program, &bytes), "nvrtcGetProgramLogSize");
  std::string text(bytes, '\0');
  check(log_(program, text.data()), "nvrtcGetProgramLog");
  return text.c_str();
}

std::string Nvrtc::compile(const std::string& source, int sm) const {
  nvrtcProgram program = nullptr;
  check(create_(&program, source.c_str(), "chain.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
  const auto destroy = [this](nvrtcProgram p) { destroy_(&p); };
  const std::unique_ptr<std::remove_pointer_t<nvrtcProgram>, decltype(destroy)> owner(program,
                                                                                      destroy);
  const std::string target = "--gpu-architecture=sm_" + std::to_string(sm);
  const char* options[] = {target.c_str(), "--std=c++17"};
  const nvrtcResult status = compile_(program, 2, options);
  if (status != NVRTC_SUCCESS)
    fail("NVRTC refuses a generated kernel for {}: {}\n{}", target, error_(status), log(program));
  size_t bytes = 0;
  check(image_size_(program, &bytes), "nvrtcGetCUBINSize");
  std::string image(bytes, '\0');
  check(image_(program, image.data()), "nvrtcGetCUBIN");
  return image;
}

}  // namespace tokamak
