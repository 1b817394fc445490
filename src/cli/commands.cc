#include "cli/command.h"

namespace tokamak::cli {

Run declare_completion(CLI::App& app);

namespace {

constexpr Command kCommands[] = {
    {"completion", "Print a shell completion script",
     "  tokamak completion bash > /etc/bash_completion.d/tokamak\n"
     "  tokamak completion zsh > ~/.zfunc/_tokamak\n"
     "  tokamak completion fish > ~/.config/fish/completions/tokamak.fish",
     declare_completion},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace tokamak::cli
