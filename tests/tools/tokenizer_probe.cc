// tokenizer_probe FILE: for every line {"t": text, "a": add special tokens} on stdin, writes a line
// {"ids": […], "text": decoded, "clean": decoded without special tokens}; {"d": [ids]} only
// decodes. tools/make_tokenizer_fixtures.py compares it with the reference libraries.
// tokenizer_probe --time FILE TEXT_FILE: milliseconds to open the tokenizer, MB/s of encoding.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace {

using namespace tokamak;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

int time_it(const char* file, const char* text_file) {
  const auto begin = Clock::now();
  const auto tokenizer = Tokenizer::load(file);
  std::printf("open %.1f ms, %d tokens\n", seconds_since(begin) * 1e3, tokenizer.vocab_size());
  const std::string text = read_text(text_file);
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    const auto ids = tokenizer.encode(text);
    const double s = seconds_since(start);
    std::printf("%zu bytes, %zu ids, %.3f s, %.2f MB/s\n", text.size(), ids.size(), s,
                static_cast<double>(text.size()) / s / 1e6);
  }
  return 0;
}

Json answer(const Tokenizer& tokenizer, const Json& request) {
  Json out;
  std::vector<int32_t> ids;
  if (request.contains("d")) {
    ids = request["d"].get<std::vector<int32_t>>();
  } else {
    EncodeOptions options;
    options.add_special = request.value("a", true);
    try {
      ids = tokenizer.encode(request["t"].get<std::string>(), options);
    } catch (const Error& e) {
      return {{"error", e.what()}};
    }
  }
  return {{"ids", ids}, {"text", tokenizer.decode(ids)}, {"clean", tokenizer.decode(ids, true)}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 4 && std::string(argv[1]) == "--time") return time_it(argv[2], argv[3]);
    if (argc != 2) fail("usage: tokenizer_probe FILE | --time FILE TEXT_FILE");
    const auto tokenizer = Tokenizer::load(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer(tokenizer, Json::parse(line)).dump() << '\n';
    }
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 2;
  }
  return 0;
}
