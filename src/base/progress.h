// A progress line on stderr with rate and estimate: a bar on a terminal, a line now and then
// elsewhere, nothing with TOKAMAK_PROGRESS=0.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace tokamak {

class Progress {
 public:
  // unit: "B" prints bytes as MB/GB; any other unit is printed as is.
  Progress(std::string title, int64_t total, std::string unit);
  ~Progress();  // clears an unfinished bar, so that an error message stands alone
  Progress(const Progress&) = delete;
  void add(int64_t n, const std::string& detail = {});
  void finish();

 private:
  void draw(const std::string& detail, bool last);
  std::string title_, unit_;
  int64_t total_, done_ = 0;
  std::chrono::steady_clock::time_point start_, last_draw_;
  bool terminal_, enabled_, finished_ = false;
};

}  // namespace tokamak
