// One line of input with editing and history (libedit) on a terminal; plain lines elsewhere.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace tokamak::cli {

class LineEditor {
 public:
  explicit LineEditor(const std::filesystem::path& history_file);
  ~LineEditor();
  // Nothing at the end of input (Ctrl-D).
  std::optional<std::string> read(const std::string& prompt);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tokamak::cli
