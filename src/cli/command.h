// A subcommand: declare() adds its options to its CLI11 app and returns what to run when it was
// chosen. One file per subcommand (cmd_NAME.cc); the list in commands.cc is explicit.
// Flags are spelled with underscores (--model_dir); main accepts dashes too.
#pragma once
#include <functional>
#include <span>
#include <string>

namespace CLI {
class App;
}

namespace tokamak::cli {

using Run = std::function<int()>;  // returns the exit code; throws Error for bad input

struct Command {
  const char* name;
  const char* summary;   // one line
  const char* examples;  // printed under --help
  Run (*declare)(CLI::App& app);
};

std::span<const Command> commands();

// Exit codes: 0 done, 1 a check that the user asked for failed, 2 bad input, 130 interrupted.
int run_main(int argc, const char* const* argv);

}  // namespace tokamak::cli
