#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace tokamak {
namespace {

using Clock = std::chrono::steady_clock;

std::string amount(int64_t n, const std::string& unit) {
  if (unit != "B") return fmt::format("{} {}", n, unit);
  return n < 1'000'000'000 ? fmt::format("{:.1f} MB", n / 1e6) : fmt::format("{:.2f} GB", n / 1e9);
}

bool progress_enabled() {
  const char* v = std::getenv("TOKAMAK_PROGRESS");
  return !v || std::strcmp(v, "0") != 0;
}

}  // namespace

Progress::Progress(std::string title, int64_t total, std::string unit)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      start_(Clock::now()),
      last_draw_(start_),
      terminal_(::isatty(STDERR_FILENO)),
      enabled_(progress_enabled()) {}

Progress::~Progress() {
  if (!finished_ && enabled_ && terminal_) std::fputs("\r\033[K", stderr);
}

void Progress::add(int64_t n, const std::string& detail) {
  done_ += n;
  const auto now = Clock::now();
  const auto interval = terminal_ ? std::chrono::milliseconds(80) : std::chrono::milliseconds(5000);
  if (!enabled_ || now - last_draw_ < interval) return;
  last_draw_ = now;
  draw(detail, false);
}

void Progress::finish() {
  finished_ = true;
  if (enabled_) draw("", true);
}

void Progress::draw(const std::string& detail, bool last) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double part = total_ > 0 ? std::min(1.0, static_cast<double>(done_) / total_) : 1.0;
  std::string line = fmt::format("{} ", title_);
  if (terminal_ && !last) {
    const int width = 24, full = static_cast<int>(part * width);
    line += "[" + std::string(full, '=') + std::string(width - full, ' ') + "] ";
  }
  line += last ? fmt::format("{} in {:.1f} s", amount(done_, unit_), seconds)
               : fmt::format("{:3.0f} % of {}, {:.0f} s left", part * 100, amount(total_, unit_),
                             part > 0 ? seconds * (1 - part) / part : 0.0);
  if (!detail.empty()) line += "  " + detail;
  std::fprintf(stderr, "%s%s%s", terminal_ ? "\r\033[K" : "", line.c_str(),
               last || !terminal_ ? "\n" : "");
  std::fflush(stderr);
}

}  // namespace tokamak
