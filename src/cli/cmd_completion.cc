// Shell completion, generated from the commands' own declarations, so that it never goes stale.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command.h"

namespace tokamak::cli {
Run declare_completion(CLI::App& app);

namespace {

using Flags = std::map<std::string, std::vector<std::string>>;  // command → its long flags

Flags all_flags() {
  Flags flags;
  for (const Command& c : commands()) {
    std::vector<std::string>& names = flags[c.name];
    if (c.declare == declare_completion) continue;  // takes a shell's name, not flags
    CLI::App app;
    c.declare(app);
    for (const CLI::Option* o : app.get_options())
      for (const std::string& n : o->get_lnames()) names.push_back("--" + n);
  }
  return flags;
}

std::string bash_script() {
  std::string cases, names;
  for (const auto& [command, flags] : all_flags()) {
    names += command + " ";
    cases += fmt::format("    {}) words=\"{}\" ;;\n", command, fmt::join(flags, " "));
  }
  return fmt::format(
      "_tokamak() {{\n  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" words=\"{}\"\n"
      "  if (( COMP_CWORD > 1 )); then case \"${{COMP_WORDS[1]}}\" in\n{}  esac; fi\n"
      "  if [[ $current == -* || $COMP_CWORD == 1 ]]; then\n"
      "    COMPREPLY=( $(compgen -W \"$words\" -- \"$current\") )\n"
      "  else\n    COMPREPLY=( $(compgen -f -- \"$current\") )\n  fi\n}}\n"
      "complete -o filenames -F _tokamak tokamak\n",
      names, cases);
}

std::string fish_script() {
  std::string out;
  for (const Command& c : commands())
    out += fmt::format("complete -c tokamak -n __fish_use_subcommand -f -a {} -d '{}'\n", c.name,
                       c.summary);
  for (const auto& [command, flags] : all_flags())
    for (const std::string& f : flags)
      out += fmt::format("complete -c tokamak -n '__fish_seen_subcommand_from {}' -l {}\n", command,
                         f.substr(2));
  return out;
}

int print_completion(const std::string& shell) {
  if (shell == "bash")
    std::fputs(bash_script().c_str(), stdout);
  else if (shell == "zsh")
    std::printf("#compdef tokamak\nautoload -U bashcompinit && bashcompinit\n%s",
                bash_script().c_str());
  else if (shell == "fish")
    std::fputs(fish_script().c_str(), stdout);
  else
    fail("unknown shell '{}'; known: bash, zsh, fish", shell);
  return 0;
}

}  // namespace

Run declare_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash, zsh or fish")->required();
  return [shell] { return print_completion(*shell); };
}

}  // namespace tokamak::cli
