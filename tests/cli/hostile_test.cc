// What a user or a disk can do wrong: every refusal is one line on stderr and exit code 2, nothing
// half-written stays, and what can work does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/json.h"
#include "cli/process.h"

namespace tokamak {
namespace {

using test::data;
using test::Outcome;
using test::tokamak_cli;
using testing::HasSubstr;

// A tiny model, converted and built once for all tests; each test has a folder of its own.
class Hostile : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new test::TempDir("hostile_shared");
    ASSERT_EQ(tokamak_cli({"convert", "--model_dir", data("llama").string(), "--output_dir",
                           shared("ckpt")})
                  .code,
              0);
    ASSERT_EQ(tokamak_cli({"build", "--no_tuning", "--checkpoint_dir", shared("ckpt"),
                           "--output_dir", shared("engine")})
                  .code,
              0);
    std::ofstream(shared("ids.csv")) << "5,9,77,3\n";
  }
  static void TearDownTestSuite() { delete shared_; }

  static std::string shared(const std::string& name) { return (shared_->path / name).string(); }
  std::string path(const std::string& name) const { return (dir_.path / name).string(); }
  Outcome run(const std::string& engine, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {"run",
                                     "--engine_dir",
                                     engine,
                                     "--input_file",
                                     shared("ids.csv"),
                                     "--max_output_len",
                                     "3",
                                     "--ignore_eos",
                                     "--temperature",
                                     "0"};
    args.insert(args.end(), more.begin(), more.end());
    return tokamak_cli(args);
  }
  static void expect_refused(const Outcome& o, const std::string& part = {}) {
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_EQ(o.error_lines(), 1) << o.err;
    EXPECT_THAT(o.err, testing::StartsWith("error: "));
    EXPECT_THAT(o.err, HasSubstr(part));
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& e : std::filesystem::directory_iterator(dir_.path))
      all.push_back(e.path().filename().string());
    return all;
  }

  static test::TempDir* shared_;
  test::TempDir dir_{"hostile"};
};
test::TempDir* Hostile::shared_ = nullptr;

// Cut, a flipped bit, a run of equal bytes, or some bytes less.
std::string mutated(std::string bytes, std::mt19937& random, size_t head) {
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  const size_t at = below(std::min(head, bytes.size()));
  switch (below(4)) {
    case 0:
      return bytes.substr(0, at);
    case 1:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      return bytes;
    case 2:
      std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at),
                  std::min<size_t>(8, bytes.size() - at), "\x00\x7f\xff"[below(3)]);
      return bytes;
    default:
      return bytes.erase(at, 1 + below(40));
  }
}

TEST_F(Hostile, UsageErrorsAreOneLine) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"fly"}, "known: convert"},
      {{"--fly"}, "tokamak --help"},
      {{"run", "--fly"}, "tokamak run --help"},
      {{"convert"}, "--model_dir is required"},
      {{"convert", "--model_dir"}, "--model_dir"},
      {{"convert", "--model_dir", data("llama").string(), "--output_dir", ""}, "empty"},
      {{"build", "--checkpoint_dir", data("llama").string(), "--output_dir", path("e")},
       "tokamak convert"},
      {{"eval"}, "tokamak eval --help"},
      {{"devices", "more"}, "more"},
      {{"completion", "tcsh"}, "bash"},
      {{"run", "--model", path("no\nwhere"), "--input_text", "x"}, "no where"},
      {{"bench", "--engine_dir", shared("engine"), "--batch_size", "0"}, "--batch_size"},
      {{"bench", "--random_weights"}, "--model_config"},
      {{"serve", "--random_weights"}, "--model_config"},
      {{"run", "--engine_dir", shared("engine"), "--tokenizer_dir", path("."), "--input_text", "x"},
       "holds no tokenizer"},
      {{"bench", "--engine_dir", shared("engine"), "--cases", "1,8"}, "BATCH,INPUT,OUTPUT"},
      {{"bench", "--engine_dir", shared("engine"), "--qformat", "int4_wo"}, "--random_weights"},
      {{"devices", "--device", "tpu"}, "expected cpu or cuda"},
  };
  for (const auto& [args, part] : cases) expect_refused(tokamak_cli(args), part);
  EXPECT_TRUE(names().empty()) << testing::PrintToString(names());
}

TEST_F(Hostile, HelpAndVersionWork) {
  EXPECT_THAT(tokamak_cli({"--version"}).out, testing::StartsWith("tokamak "));
  for (const char* command : {"convert", "build", "run", "chat", "bench", "eval", "tokenize",
                              "inspect", "explain", "devices", "completion"}) {
    const Outcome o = tokamak_cli({command, "--help"});
    EXPECT_EQ(o.code, 0);
    EXPECT_THAT(o.out, HasSubstr(std::string("tokamak ") + command));
  }
}

TEST_F(Hostile, DamagedFilesAreRefusedOrHarmless) {
  struct Case {
    std::string directory, file;
    std::vector<std::string> args;
    size_t head;
  };
  const std::vector<std::string> build = {"build",    "--no_tuning",  "--checkpoint_dir",
                                          path("in"), "--output_dir", path("out")};
  const std::vector<std::string> convert = {"convert", "--model_dir", path("in"), "--output_dir",
                                            path("out")};
  const std::vector<std::string> run = {
      "run", "--engine_dir", path("in"), "--input_file", shared("ids.csv"), "--max_output_len",
      "2"};
  const std::vector<Case> cases = {
      {data("llama").string(), "model.safetensors", convert, 2500},
      {data("llama").string(), "config.json", convert, 800},
      {shared("ckpt"), "rank0.safetensors", build, 2500},
      {shared("ckpt"), "config.json", build, 1500},
      {shared("engine"), "rank0.engine", run, 20000},
      {shared("engine"), "config.json", run, 1500},
  };
  std::mt19937 random(3);
  std::printf("seed 3\n");
  int refused = 0;
  for (const Case& c : cases) {
    std::filesystem::remove_all(path("in"));
    std::filesystem::copy(c.directory, path("in"));
    const std::string whole = test::file_text(path("in") + "/" + c.file);
    for (int i = 0; i < 12; ++i) {
      std::ofstream(path("in") + "/" + c.file, std::ios::binary) << mutated(whole, random, c.head);
      std::filesystem::remove_all(path("out"));
      const Outcome o = tokamak_cli(c.args);
      if (o.code != 0) {
        SCOPED_TRACE(c.file);
        expect_refused(o);
        EXPECT_FALSE(std::filesystem::exists(path("out")));
        ++refused;
      }
      for (const std::string& n : names()) EXPECT_TRUE(n == "in" || n == "out") << n;
    }
  }
  EXPECT_GT(refused, 40);
}

TEST_F(Hostile, AChangedWeightIsFoundWhenAskedFor) {
  std::filesystem::copy(shared("engine"), path("engine"));
  ASSERT_EQ(tokamak_cli({"inspect", path("engine"), "--verify"}).code, 0);
  ASSERT_EQ(run(path("engine"), {"--verify"}).code, 0);
  const std::string file = path("engine") + "/rank0.engine";
  const std::string whole = test::file_text(file);
  std::mt19937 random(4);
  std::printf("seed 4\n");
  uint64_t weights = 0;
  std::memcpy(&weights, whole.data() + 24, 8);
  for (int i = 0; i < 10; ++i) {
    std::string damaged = whole;
    const size_t at = i == 0   ? weights
                      : i == 1 ? whole.size() - 1
                               : weights + random() % (whole.size() - weights);
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (random() % 8)));
    std::ofstream(file, std::ios::binary) << damaged;
    expect_refused(tokamak_cli({"inspect", path("engine"), "--verify"}), "checksum");
    expect_refused(run(path("engine"), {"--verify"}), "checksum");
  }
}

TEST_F(Hostile, AnInterruptedBuildLeavesNothing) {
  int interrupted = 0;
  for (int i = 0; i < 20; ++i) {
    std::filesystem::remove_all(path("engine"));
    const Outcome o =
        tokamak_cli({"build", "--checkpoint_dir", shared("ckpt"), "--output_dir", path("engine")},
                    std::chrono::milliseconds(3 + 15 * i));
    if (o.code == 0) {
      EXPECT_EQ(tokamak_cli({"inspect", path("engine"), "--verify"}).code, 0);
      continue;
    }
    EXPECT_TRUE(o.code == 130 || o.code == 128 + SIGINT) << o.code << " " << o.err;
    EXPECT_TRUE(names().empty()) << testing::PrintToString(names());
    ++interrupted;
  }
  EXPECT_GT(interrupted, 0);
}

TEST_F(Hostile, LogprobsComeWithJson) {
  const Outcome o = run(shared("engine"), {"--json", "--logprobs", "2"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json done = Json::parse(o.out).at(0);
  ASSERT_EQ(done.at("logprobs").size(), done.at("tokens").size());
  for (size_t i = 0; i < done["tokens"].size(); ++i) {
    const Json& l = done["logprobs"][i];
    ASSERT_EQ(l.at("top").size(), 2u);
    EXPECT_EQ(l["top"][0].at("id"), done["tokens"][i]);  // greedy
    EXPECT_EQ(l["top"][0].at("logprob"), l.at("logprob"));
    EXPECT_LT(l["logprob"].get<double>(), 0);
    EXPECT_LE(l["top"][1]["logprob"].get<double>(), l["logprob"].get<double>());
  }
  expect_refused(run(shared("engine"), {"--logprobs", "2"}), "--json");
}

TEST_F(Hostile, BuildLimitsAreNoPrison) {
  ASSERT_EQ(tokamak_cli({"build", "--no_tuning", "--checkpoint_dir", shared("ckpt"), "--output_dir",
                         path("small"), "--max_batch_size", "1", "--max_input_len", "4",
                         "--max_seq_len", "8", "--max_num_tokens", "4"})
                .code,
            0);
  std::ofstream ids(path("many.csv"));
  for (int p = 0; p < 5; ++p) {
    for (int i = 0; i < 30; ++i) ids << (i ? "," : "") << (7 * i + p) % 100;
    ids << "\n";
  }
  ids.close();
  const auto output = [&](const std::string& engine) {
    return tokamak_cli({"run", "--engine_dir", engine, "--input_file", path("many.csv"),
                        "--max_output_len", "6", "--ignore_eos", "--temperature", "0",
                        "--output_csv", "/dev/stdout"});
  };
  const Outcome small = output(path("small")), large = output(shared("engine"));
  ASSERT_EQ(small.code, 0) << small.err;
  EXPECT_EQ(small.out, large.out);
}

TEST_F(Hostile, NamesMayHoldAnything) {
  const std::string odd = path("a b/モデル 'x' \"y\"");
  std::filesystem::create_directories(odd);
  std::filesystem::copy(shared("engine"), odd + "/en gine");
  EXPECT_EQ(run(odd + "/en gine", {"--output_csv", odd + "/o ö.csv"}).code, 0);
  EXPECT_EQ(test::file_text(odd + "/o ö.csv").find_first_not_of("0123456789,\n"),
            std::string::npos);
  EXPECT_EQ(tokamak_cli({"inspect", odd + "/en gine"}).code, 0);
}

TEST_F(Hostile, OutputThatDoesNotArriveIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const Outcome o = run(shared("engine"), {"--output_csv", "/dev/full"});
  EXPECT_EQ(o.code, 2);
  EXPECT_THAT(o.err, HasSubstr("/dev/full"));
}

TEST_F(Hostile, CompletionScriptsComplete) {
  const Outcome script = tokamak_cli({"completion", "bash"});
  ASSERT_EQ(script.code, 0);
  std::ofstream(path("tokamak.bash")) << script.out;
  const auto completes = [&](const std::string& words) {
    const std::string command = "cd '" + dir_.path.string() +
                                "' && bash -c 'source ./tokamak.bash; COMP_WORDS=(" + words +
                                "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tokamak; "
                                "echo \"${COMPREPLY[*]}\"' > answer";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return test::file_text(path("answer"));
  };
  EXPECT_EQ(completes("tokamak ex"), "explain\n");
  EXPECT_EQ(completes("tokamak eval p"), "ppl\n");
  EXPECT_EQ(completes("tokamak eval ppl --st"), "--stride\n");
  EXPECT_EQ(completes("tokamak completion z"), "zsh\n");
  EXPECT_EQ(completes("tokamak --v"), "--version\n");
  EXPECT_EQ(completes("tokamak inspect tok"), "tokamak.bash\n");
}

}  // namespace
}  // namespace tokamak
