#include "base/shared_library.h"

#include <dlfcn.h>

namespace tokamak {

std::optional<SharedLibrary> SharedLibrary::open(const std::string& path, std::string* why) {
  if (void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
    return SharedLibrary(path, handle);
  *why = ::dlerror();
  return std::nullopt;
}

void* SharedLibrary::find(const char* symbol) const { return ::dlsym(handle_, symbol); }

bool SharedLibrary::complete(std::string* why) const {
  if (!missing_.empty()) *why = path_ + " has no " + missing_;
  return missing_.empty();
}

}  // namespace tokamak
