#include "cli/line_editor.h"

#include <editline/readline.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace tokamak::cli {

struct LineEditor::Impl {
  std::filesystem::path history_file;
  bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
};

LineEditor::LineEditor(const std::filesystem::path& history_file) : impl_(new Impl{history_file}) {
  if (!impl_->terminal) return;
  using_history();
  std::error_code ignored;
  std::filesystem::create_directories(history_file.parent_path(), ignored);
  read_history(history_file.c_str());
}

LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  std::string line;
  if (!impl_->terminal) {
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  char* raw = readline(prompt.c_str());
  if (!raw) return std::nullopt;
  line = raw;
  std::free(raw);
  if (line.empty()) return line;
  add_history(line.c_str());
  write_history(impl_->history_file.c_str());  // now: Ctrl-C at the prompt ends the program
  return line;
}

}  // namespace tokamak::cli
