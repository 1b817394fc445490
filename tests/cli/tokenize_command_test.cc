#include "cli/tokenize_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace tokamak::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TokenizeCommand : public testing::Test {
 protected:
  TokenizeCommand() {
    char name[] = "/tmp/tokamak_tokenize_XXXXXX";
    folder_ = mkdtemp(name);
    options_.model =
        (fs::path(TOKAMAK_TEST_DATA) / "text" / "sentencepiece" / "bpe_bytes_identity.model")
            .string();
  }
  ~TokenizeCommand() override { fs::remove_all(folder_); }

  std::string file(const char* name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return (folder_ / name).string();
  }
  std::string output() const {
    std::ostringstream out;
    EXPECT_EQ(tokenize_command(options_, out), 0);
    return out.str();
  }
  std::string error() const {
    try {
      output();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  fs::path folder_;
  TokenizeOptions options_;
};

TEST_F(TokenizeCommand, IdsAndBack) {
  options_.input_text = "the world\n";
  const std::string ids = output();
  EXPECT_THAT(ids, testing::MatchesRegex("\\[1(,[0-9]+)+\\]\n"));
  options_.decode = true;
  options_.input_text = ids;
  EXPECT_EQ(output(), "\"<s> the world\\n\"\n");
  options_.no_special = true;
  EXPECT_EQ(output(), "\"the world\\n\"\n");
}

TEST_F(TokenizeCommand, FilesGiveOneLineAText) {
  options_.input_file = file("a.jsonl", "{\"text\": \"the\"}\n\n{\"text\": \"a\\nb\"}\n");
  const std::string lines = output();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  const std::string ids = file("ids.jsonl", lines);
  options_.input_file = ids;
  options_.decode = options_.no_special = true;
  EXPECT_EQ(output(), "\"the\"\n\"a\\nb\"\n");
  options_.decode = false;
  options_.input_file = file("a.txt", "the\nworld\n");  // as it stands
  const std::string one = output();
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 1);
}

TEST_F(TokenizeCommand, BadInput) {
  EXPECT_THAT(error(), HasSubstr("exactly one of --input_text and --input_file"));
  options_.input_file = (folder_ / "none.txt").string();
  EXPECT_THAT(error(), HasSubstr("cannot be read"));
  options_.input_file = file("a.csv", "x");
  EXPECT_THAT(error(), HasSubstr("expected a .txt or .jsonl file"));
  options_.input_file = file("a.jsonl", "{\"text\": \"a\"}\n{\"txt\": 1}\n");
  EXPECT_THAT(error(), HasSubstr("a.jsonl:2: expected an object with a \"text\""));
  options_.decode = true;
  options_.input_file = file("b.jsonl", "[1, -2]\n");
  EXPECT_THAT(error(), HasSubstr("-2 is not a token id"));
  options_.input_file = file("c.jsonl", "[99999]\n");
  EXPECT_THAT(error(), HasSubstr("token id 99999 is out of range"));
}

}  // namespace
}  // namespace tokamak::cli
