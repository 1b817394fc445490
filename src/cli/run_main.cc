#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command.h"
#include "tokamak/version.h"

namespace tokamak::cli {
namespace {

// "--model-dir=x-y" → "--model_dir=x-y": only the flag's name, and nothing after a bare "--".
std::vector<std::string> with_underscores(int argc, const char* const* argv) {
  std::vector<std::string> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  for (std::string& a : args) {
    if (a == "--") break;
    if (a.rfind("--", 0) != 0) continue;
    for (size_t i = 2; i < a.size() && a[i] != '='; ++i)
      if (a[i] == '-') a[i] = '_';
  }
  return args;
}

int report(const char* message) {
  std::fprintf(stderr, "error: %s\n", message);
  return 2;
}

}  // namespace

int run_main(int argc, const char* const* argv) {
  CLI::App app("Tokamak: an LLM inference compiler and runtime", "tokamak");
  app.require_subcommand(0, 1);
  app.set_version_flag("--version", std::string("tokamak ") + kVersion);
  Run chosen;
  for (const Command& c : commands()) {
    CLI::App* sub = app.add_subcommand(c.name, c.summary);
    if (*c.examples) sub->footer(std::string("Examples:\n") + c.examples);
    Run run = c.declare(*sub);
    sub->callback([&chosen, run] { chosen = run; });
  }
  try {
    std::vector<std::string> args = with_underscores(argc, argv);
    std::reverse(args.begin(), args.end());  // CLI11 parses from the back
    app.parse(args);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (!chosen) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  try {
    return chosen();
  } catch (const Error& e) {
    return report(e.what());
  } catch (const std::bad_alloc&) {
    return report("out of memory");
  } catch (const std::exception& e) {
    return report(e.what());
  }
}

}  // namespace tokamak::cli
