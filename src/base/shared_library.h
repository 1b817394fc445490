// A shared library that is found while the program runs. It stays loaded: its code is in use.
#pragma once
#include <optional>
#include <string>

namespace tokamak {

class SharedLibrary {
 public:
  // Nothing, and the loader's words in `why`, when it cannot be loaded.
  static std::optional<SharedLibrary> open(const std::string& path, std::string* why);

  void* find(const char* symbol) const;  // null: it has none of that name
  template <typename F>
  void bind(F& function, const char* symbol) {
    function = reinterpret_cast<F>(find(symbol));
    if (function == nullptr) missing_ = symbol;
  }
  // Whether all that was bound is there; else `why` names what is not.
  bool complete(std::string* why) const;

 private:
  SharedLibrary(std::string path, void* handle) : path_(std::move(path)), handle_(handle) {}
  std::string path_, missing_;
  void* handle_;
};

}  // namespace tokamak
