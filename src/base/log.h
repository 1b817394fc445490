// Messages to stderr: info, warning, error; TOKAMAK_LOG_LEVEL=debug|info|warning|error|off chooses.
// Notices that a user must see once (a re-selected tactic, an unusual recipe) are warnings.
#pragma once
#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace tokamak::log {

enum class Level { debug, info, warning, error };
void write(Level level, std::string_view message);
bool enabled(Level level);

template <typename... A>
void debug(fmt::format_string<A...> f, A&&... a) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(f, std::forward<A>(a)...));
}
template <typename... A>
void info(fmt::format_string<A...> f, A&&... a) {
  if (enabled(Level::info)) write(Level::info, fmt::format(f, std::forward<A>(a)...));
}
template <typename... A>
void warning(fmt::format_string<A...> f, A&&... a) {
  write(Level::warning, fmt::format(f, std::forward<A>(a)...));
}
template <typename... A>
void error(fmt::format_string<A...> f, A&&... a) {
  write(Level::error, fmt::format(f, std::forward<A>(a)...));
}

}  // namespace tokamak::log
