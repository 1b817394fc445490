#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "cli/command.h"
#include "formats/atomic_output.h"
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

// One line, whatever the message holds (a file name may have a line break).
int report(std::string message, int code = 2) {
  while (!message.empty() && message.back() == '\n') message.pop_back();
  for (char& c : message)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return code;
}

bool is_command(const std::string& name) {
  const auto all = commands();
  return std::any_of(all.begin(), all.end(), [&](const Command& c) { return name == c.name; });
}

int report_unknown_command(const std::string& name) {
  std::string known;
  for (const Command& c : commands()) known += (known.empty() ? "" : ", ") + std::string(c.name);
  return report("unknown command '" + name + "'; known: " + known);
}

int report_usage(const CLI::App& app, const CLI::ParseError& e) {
  std::string command = "tokamak";
  for (const CLI::App* sub : app.get_subcommands()) command += " " + sub->get_name();
  return report(std::string(e.what()) + "; see `" + command + " --help`");
}

// Output that did not arrive (a full disk behind a redirection) is an error too.
int finish(int code) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
  return report(std::string("cannot write to standard output: ") + std::strerror(errno));
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
    if (!args.empty() && args[0][0] != '-' && !is_command(args[0]))
      return report_unknown_command(args[0]);
    std::reverse(args.begin(), args.end());  // CLI11 parses from the back
    app.parse(args);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app.exit(e);  // --help and --version
      return finish(0);
    }
    return report_usage(app, e);
  }
  if (!chosen) {
    std::fputs(app.help().c_str(), stdout);
    return finish(0);
  }
  try {
    return finish(chosen());
  } catch (const Interrupted& e) {
    return report(e.what(), 130);
  } catch (const std::bad_alloc&) {
    return report("out of memory");
  } catch (const std::exception& e) {
    return report(e.what());
  }
}

}  // namespace tokamak::cli
