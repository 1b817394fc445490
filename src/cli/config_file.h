// Options of a subcommand from the environment and from a file.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace tokamak::cli {

// Every option can come from TOKAMAK_NAME as well. After the options are declared.
void take_environment(CLI::App& app);
// NAME = VALUE, a line each (INI or TOML), for options that neither the command line nor the
// environment gave. Error names the file and the option.
void take_config_file(CLI::App& app, const std::string& file);

}  // namespace tokamak::cli
