#include "backend/cuda/chain/nvrtc.h"

#include <cuda_runtime_api.h>

#include "base/error.h"
#include "base/shared_library.h"

namespace tokamak {

std::shared_ptr<const Nvrtc> Nvrtc::load(std::string* why) {
  const std::string name = "libnvrtc.so." + std::to_string(CUDART_VERSION / 1000);
  std::optional<SharedLibrary> library = SharedLibrary::open(name, why);
  if (!library) return nullptr;
  std::shared_ptr<Nvrtc> rtc(new Nvrtc);
  library->bind(rtc->create_, "nvrtcCreateProgram");
  library->bind(rtc->destroy_, "nvrtcDestroyProgram");
  library->bind(rtc->compile_, "nvrtcCompileProgram");
  library->bind(rtc->image_size_, "nvrtcGetCUBINSize");
  library->bind(rtc->image_, "nvrtcGetCUBIN");
  library->bind(rtc->log_size_, "nvrtcGetProgramLogSize");
  library->bind(rtc->log_, "nvrtcGetProgramLog");
  library->bind(rtc->error_, "nvrtcGetErrorString");
  return library->complete(why) ? rtc : nullptr;
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
