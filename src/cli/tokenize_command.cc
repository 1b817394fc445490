#include "cli/tokenize_command.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace tokamak::cli {
namespace {

using Ids = std::vector<int32_t>;

template <typename Line>
void for_each_line(const std::string& text, const Line& line) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    ++number;
    const std::string part = text.substr(begin, end - begin);
    if (part.find_first_not_of(" \t\r") != std::string::npos) line(part, number);
    begin = end + 1;
  }
}

std::string text_of_line(const std::string& line, const std::string& where) {
  const Json json = parse_json(line, where);
  const Json* text = json.is_object() && json.contains("text") ? &json.at("text") : &json;
  if (!text->is_string()) fail("{}: expected an object with a \"text\"", where);
  return text->get<std::string>();
}

Ids ids_of_line(const std::string& line, const std::string& where) {
  const Json json = parse_json(line, where);
  if (!json.is_array()) fail("{}: expected an array of token ids", where);
  Ids ids;
  for (const Json& id : json) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      fail("{}: {} is not a token id", where, id.dump());
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// Pipes and /dev/stdin are read too.
std::string read_input(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) fail("--input_file {}: cannot be read", path);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::vector<std::string> read_texts(const TokenizeOptions& o) {
  if (o.input_text) return {*o.input_text};
  const std::string extension = std::filesystem::path(o.input_file).extension().string();
  if (extension == ".txt") return {read_input(o.input_file)};
  if (extension != ".jsonl") fail("--input_file {}: expected a .txt or .jsonl file", o.input_file);
  std::vector<std::string> texts;
  for_each_line(read_input(o.input_file), [&](const std::string& line, size_t number) {
    texts.push_back(text_of_line(line, fmt::format("{}:{}", o.input_file, number)));
  });
  return texts;
}

std::vector<Ids> read_ids(const TokenizeOptions& o) {
  if (o.input_text) return {ids_of_line(*o.input_text, "--input_text")};
  std::vector<Ids> lists;
  for_each_line(read_input(o.input_file), [&](const std::string& line, size_t number) {
    lists.push_back(ids_of_line(line, fmt::format("{}:{}", o.input_file, number)));
  });
  return lists;
}

void print_ids(const Ids& ids, std::ostream& out) {
  out << '[';
  for (size_t i = 0; i < ids.size(); ++i) out << (i > 0 ? "," : "") << ids[i];
  out << "]\n";
}

void print_text(const Tokenizer& tokenizer, const Ids& ids, bool skip_special, std::ostream& out) {
  for (const int32_t id : ids)
    if (id >= tokenizer.vocab_size())
      fail("token id {} is out of range: the vocabulary has {} tokens", id, tokenizer.vocab_size());
  const std::string text = tokenizer.decode(ids, skip_special);
  out << Json(text).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace

int tokenize_command(const TokenizeOptions& options, std::ostream& out) {
  if (options.input_text.has_value() == !options.input_file.empty())
    fail("give exactly one of --input_text and --input_file");
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  if (options.decode) {
    for (const Ids& ids : read_ids(options)) print_text(tokenizer, ids, options.no_special, out);
  } else {
    const EncodeOptions encode{!options.no_special, !options.no_special};
    for (const std::string& text : read_texts(options))
      print_ids(tokenizer.encode(text, encode), out);
  }
  out.flush();
  if (!out) fail("cannot write the output");
  return 0;
}

}  // namespace tokamak::cli
