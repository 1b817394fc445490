// Runs the tokamak binary as a user would: arguments in, exit code, stdout and stderr out.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "accuracy/reference.h"

namespace tokamak::test {

struct Outcome {
  int code = -1;  // exit code; 128 + signal when killed
  std::string out, err;
  // Lines on stderr, without empty ones.
  int error_lines() const {
    std::istringstream lines(err);
    int n = 0;
    for (std::string line; std::getline(lines, line);) n += !line.empty();
    return n;
  }
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// kill_after: SIGINT after so long (0: never). environment: "NAME=value" additions.
inline Outcome tokamak_cli(std::vector<std::string> args, std::chrono::microseconds kill_after = {},
                           const std::vector<std::string>& environment = {},
                           const std::string& input = {}) {
  const TempDir io("cli_io");
  const auto out = io.path / "out", err = io.path / "err", in = io.path / "in";
  std::ofstream(in) << input;
  args.insert(args.begin(), TOKAMAK_BINARY);
  const pid_t child = fork();
  if (child == 0) {
    for (const std::string& e : environment) putenv(const_cast<char*>(e.c_str()));
    setenv("TOKAMAK_PROGRESS", "0", 1);
    dup2(open(in.c_str(), O_RDONLY), STDIN_FILENO);
    dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    std::vector<char*> argv;
    for (std::string& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (kill_after.count() > 0) {
    std::this_thread::sleep_for(kill_after);
    kill(child, SIGINT);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), file_text(out),
          file_text(err)};
}

}  // namespace tokamak::test
