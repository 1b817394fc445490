#include "backend/cuda_plugin.h"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/shared_library.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLibrary = "libtokamak_cuda.so";

std::vector<std::string> candidates() {
  if (const char* path = std::getenv("TOKAMAK_CUDA_PLUGIN")) return {path};
  std::error_code ignored;
  const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  return {(folder / kLibrary).string(), (folder / ".." / "lib" / kLibrary).lexically_normal()};
}

}  // namespace

std::unique_ptr<Backend> load_cuda_backend(const CudaOptions& options) {
  std::string tried;
  for (const std::string& path : candidates()) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      tried += fmt::format("\n  {}: not there", path);
      continue;
    }
    std::string why;
    const auto library = SharedLibrary::open(path, &why);
    if (!library) fail("the CUDA backend cannot be loaded: {}", why);
    void* entry = library->find(kCudaPluginEntry);
    if (entry == nullptr)
      fail("'{}' belongs to another version of this program: it has no {}", path, kCudaPluginEntry);
    return std::unique_ptr<Backend>(reinterpret_cast<CudaPluginEntry>(entry)(options));
  }
  fail("this installation has no CUDA backend; looked for{}", tried);
}

}  // namespace tokamak
