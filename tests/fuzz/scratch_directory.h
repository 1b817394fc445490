// Fuzz input as a file of a fixed name in a directory of the process's own.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace tokamak {

// The directory, with the input as the file `name` in it.
inline const std::filesystem::path& scratch_directory(const char* name, const uint8_t* data,
                                                      size_t size) {
  static const std::filesystem::path directory = [] {
    const auto p =
        std::filesystem::temp_directory_path() / ("tokamak_fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(p);
    return p;
  }();
  std::ofstream(directory / name, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  return directory;
}

}  // namespace tokamak
