#include "cli/config_file.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace tokamak::cli {

void take_environment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty() || option == app.get_help_ptr()) continue;
    std::string name = "TOKAMAK_" + option->get_lnames()[0];
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
    option->envname(name);
  }
}

void take_config_file(CLI::App& app, const std::string& file) {
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigBase().from_file(file)) {
      std::string name = item.name;
      std::ranges::replace(name, '-', '_');
      CLI::Option* option = app.get_option_no_throw("--" + name);
      if (!item.parents.empty() || !option || option == app.get_help_ptr())
        fail("--config '{}': there is no option '{}'", file, item.fullname());
      if (option->count() > 0) continue;
      if (option->get_items_expected() == 0)
        option->add_result(option->get_flag_value(name, CLI::ConfigBase().to_flag(item)));
      else
        option->add_result(item.inputs);
      option->run_callback();
    }
  } catch (const CLI::Error& e) {
    fail("--config '{}': {}", file, e.what());
  }
}

}  // namespace tokamak::cli
