#include "formats/atomic_output.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <utility>

namespace tokamak {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kMark = ".tokamak-";

// Signal state is the process's own, so it lives in statics; a mutex orders the guards.
volatile std::sig_atomic_t signal_seen = 0;
std::mutex guard_mutex;
int guards = 0;
struct sigaction old_int, old_term, old_xfsz;

void on_signal(int) { signal_seen = 1; }

[[noreturn]] void fail_system(const char* doing, const fs::path& path, int error) {
  if (error == ENOSPC || error == EDQUOT)
    fail("cannot {} '{}': the disk is full ({}); free some space or choose another output place",
         doing, path.string(), std::strerror(error));
  if (error == EFBIG)
    fail("cannot {} '{}': larger than the file size limit of this process or file system ({})",
         doing, path.string(), std::strerror(error));
  fail("cannot {} '{}': {}", doing, path.string(), std::strerror(error));
}

fs::path without_slash(fs::path path) {
  if (path.empty()) fail("the output path is empty");
  path = fs::absolute(path).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

fs::path temporary_beside(const fs::path& target) {
  return target.parent_path() /
         ("." + target.filename().string() + std::string(kMark) + std::to_string(::getpid()));
}

// Temporaries of processes that are gone.
void remove_leftovers(const fs::path& target) {
  const std::string prefix = "." + target.filename().string() + std::string(kMark);
  std::error_code ec;
  for (fs::directory_iterator it(target.parent_path(), ec), end; !ec && it != end;
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    pid_t pid = 0;
    const char* last = name.data() + name.size();
    const auto [stop, bad] = std::from_chars(name.data() + prefix.size(), last, pid);
    if (bad != std::errc() || stop != last || pid <= 0) continue;
    if (pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH)) {
      std::error_code ignored;
      fs::remove_all(it->path(), ignored);
    }
  }
}

void make_parents(const fs::path& target) {
  std::error_code ec;
  fs::create_directories(target.parent_path(), ec);
  if (ec) fail("cannot create '{}': {}", target.parent_path().string(), ec.message());
}

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_system("open", path, errno);
  const int result = ::fsync(fd), error = errno;
  ::close(fd);
  if (result != 0 && error != EINVAL && error != EROFS) fail_system("sync", path, error);
}

void check_target(const fs::path& target, bool overwrite) {
  std::error_code ec;
  const fs::file_status status = fs::status(target, ec);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status))
    fail("output directory '{}' exists and is not a directory", target.string());
  if (!overwrite && !fs::is_empty(target, ec))
    fail("output directory '{}' exists and is not empty; choose another one or pass --overwrite",
         target.string());
}

// Puts `from` in the place of `to`; there is no moment without a complete directory under `to`.
void exchange(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;  // absent or empty
  if (errno != ENOTEMPTY && errno != EEXIST) fail_system("rename to", to, errno);
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) fail_system("rename to", to, errno);
    fs::remove_all(to);  // a file system without the exchange
    if (::rename(from.c_str(), to.c_str()) != 0) fail_system("rename to", to, errno);
  }
}

}  // namespace

InterruptGuard::InterruptGuard() {
  const std::lock_guard lock(guard_mutex);
  if (guards++ > 0) return;
  signal_seen = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  ::sigaction(SIGINT, &action, &old_int);
  ::sigaction(SIGTERM, &action, &old_term);
  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  ::sigaction(SIGXFSZ, &action, &old_xfsz);
}

InterruptGuard::~InterruptGuard() {
  const std::lock_guard lock(guard_mutex);
  if (--guards > 0) return;
  ::sigaction(SIGINT, &old_int, nullptr);
  ::sigaction(SIGTERM, &old_term, nullptr);
  ::sigaction(SIGXFSZ, &old_xfsz, nullptr);
}

void throw_if_interrupted() {
  if (signal_seen) throw Interrupted();
}

AtomicFile::AtomicFile(fs::path target) : target_(without_slash(std::move(target))) {
  if (fs::is_directory(target_)) fail("output file '{}' is a directory", target_.string());
  make_parents(target_);
  remove_leftovers(target_);
  temporary_ = temporary_beside(target_);
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_system("create", target_, errno);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write_at(size_t offset, std::span<const std::byte> data) {
  constexpr size_t kChunk = size_t{8} << 20;
  while (!data.empty()) {
    throw_if_interrupted();
    const size_t n = std::min(kChunk, data.size());
    const ssize_t done = ::pwrite(fd_, data.data(), n, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail_system("write", target_, done < 0 ? errno : ENOSPC);
    data = data.subspan(static_cast<size_t>(done));
    offset += static_cast<size_t>(done);
  }
}

void AtomicFile::append(std::span<const std::byte> data) {
  write_at(size_, data);
  size_ += data.size();
}

void AtomicFile::append(std::string_view text) { append(std::as_bytes(std::span(text))); }

void AtomicFile::resize(size_t bytes) {
  if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) fail_system("resize", target_, errno);
}

void AtomicFile::commit() {
  TOKAMAK_ASSERT(fd_ >= 0);
  throw_if_interrupted();
  if (::fsync(fd_) != 0 && errno != EINVAL) fail_system("sync", target_, errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_system("rename to", target_, errno);
  ::close(std::exchange(fd_, -1));
  sync_path(target_.parent_path());
}

AtomicDirectory::AtomicDirectory(fs::path target, bool overwrite)
    : target_(without_slash(std::move(target))) {
  check_target(target_, overwrite);
  make_parents(target_);
  remove_leftovers(target_);
  temporary_ = temporary_beside(target_);
  if (::mkdir(temporary_.c_str(), 0755) != 0) fail_system("create", target_, errno);
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  throw_if_interrupted();
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) sync_path(entry.path());
  sync_path(temporary_);
  exchange(temporary_, target_);
  committed_ = true;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);  // after an exchange: the old directory
  sync_path(target_.parent_path());
}

void write_file(const fs::path& path, std::string_view text, std::span<const std::byte> more) {
  AtomicFile file(path);
  file.append(text);
  file.append(more);
  file.commit();
}

void write_output(const fs::path& path, std::string_view text, std::span<const std::byte> more) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (!fs::exists(status) || fs::is_regular_file(status)) return write_file(path, text, more);
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.write(reinterpret_cast<const char*>(more.data()), static_cast<std::streamsize>(more.size()));
  if (!out.flush()) fail_system("write", path, errno);
}

}  // namespace tokamak
