// Shell completion, generated from the commands' own declarations, so that it never goes stale.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
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

struct Words {
  std::vector<std::string> flags;  // long ones, those of its subcommands too
  std::vector<std::string> names;  // of subcommands, or values of its argument
};
using AllWords = std::map<std::string, Words>;  // by command

void add_flags(const CLI::App& app, Words& words) {
  for (const CLI::Option* o : app.get_options())
    for (const std::string& n : o->get_lnames())
      if (std::find(words.flags.begin(), words.flags.end(), "--" + n) == words.flags.end())
        words.flags.push_back("--" + n);
}

AllWords all_words() {
  AllWords all;
  for (const Command& c : commands()) {
    Words& words = all[c.name];
    if (c.declare == declare_completion) {
      words.names = {"bash", "zsh", "fish"};
      continue;
    }
    CLI::App app;
    c.declare(app);
    add_flags(app, words);
    for (const CLI::App* sub : app.get_subcommands({})) {
      words.names.push_back(sub->get_name());
      add_flags(*sub, words);
    }
  }
  return all;
}

std::string bash_script() {
  std::string cases, commands;
  for (const auto& [command, words] : all_words()) {
    commands += command + " ";
    cases += fmt::format("    {}) flags=\"{}\" names=\"{}\" ;;\n", command,
                         fmt::join(words.flags, " "), fmt::join(words.names, " "));
  }
  return fmt::format(
      "_tokamak() {{\n"
      "  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" flags=\"--help --version\" names=\"{}\"\n"
      "  if (( COMP_CWORD > 1 )); then names=; case \"${{COMP_WORDS[1]}}\" in\n{}  esac; fi\n"
      "  if [[ $current == -* ]]; then\n"
      "    COMPREPLY=( $(compgen -W \"$flags\" -- \"$current\") )\n"
      "  elif (( COMP_CWORD <= 2 )) && [[ $names ]]; then\n"
      "    COMPREPLY=( $(compgen -W \"$names\" -- \"$current\") )\n"
      "  else\n"
      "    local IFS=$'\\n'\n"
      "    COMPREPLY=( $(compgen -f -- \"$current\") )\n"
      "  fi\n}}\n"
      "complete -o filenames -F _tokamak tokamak\n",
      commands, cases);
}

std::string fish_script() {
  std::string out;
  for (const Command& c : commands())
    out += fmt::format("complete -c tokamak -n __fish_use_subcommand -f -a {} -d '{}'\n", c.name,
                       c.summary);
  for (const auto& [command, words] : all_words()) {
    for (const std::string& f : words.flags)
      out += fmt::format("complete -c tokamak -n '__fish_seen_subcommand_from {}' -l {}\n", command,
                         f.substr(2));
    for (const std::string& n : words.names)
      out += fmt::format("complete -c tokamak -n '__fish_seen_subcommand_from {}' -f -a {}\n",
                         command, n);
  }
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
