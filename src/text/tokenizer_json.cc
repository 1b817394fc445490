// tokenizer.json: the frame, added tokens and post-processors.
#include <algorithm>
#include <unordered_map>

#include "base/json.h"
#include "text/string_index.h"
#include "text/token_model.h"
#include "text/tokenizer_json_parts.h"
#include "text/tokenizer_readers.h"

namespace tokamak {
namespace {

// Ids are given as the original does: the model's where it has the token, else the next free one.
void read_added_tokens(const JsonNode& node, TokenizerSpec& spec) {
  const auto& pieces = pieces_of(spec.model);
  const StringIndex index(pieces);
  auto next = static_cast<int32_t>(
      std::count_if(pieces.begin(), pieces.end(), [](const auto& p) { return !p.empty(); }));
  std::unordered_map<std::string, size_t> seen;
  node.each([&](const JsonNode& item) {
    AddedToken token;
    token.content = item.at("content").text();
    token.single_word = item.boolean_or("single_word", false);
    token.lstrip = item.boolean_or("lstrip", false);
    token.rstrip = item.boolean_or("rstrip", false);
    token.special = item.boolean_or("special", false);
    token.normalized = item.boolean_or("normalized", !token.special);
    if (token.content.empty()) return;
    if (const auto before = seen.find(token.content); before != seen.end()) {
      token.id = spec.added_tokens[before->second].id;
      spec.added_tokens[before->second] = token;
      return;
    }
    const int32_t known = index.find(token.content);
    token.id = known >= 0 ? known : next++;
    seen.emplace(token.content, spec.added_tokens.size());
    spec.added_tokens.push_back(std::move(token));
  });
}

// {"sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
TemplatePostProcessor read_cls_sep(const JsonNode& node) {
  const auto id = [&](std::string_view key) {
    const JsonNode pair = node.at(key);
    std::vector<JsonNode> items;
    pair.each([&](const JsonNode& item) { items.push_back(item); });
    if (items.size() != 2) pair.refuse("expected [\"token\", id]");
    items[0].text();
    return std::vector<int32_t>{static_cast<int32_t>(items[1].natural())};
  };
  return {{{false, id("cls")}, {true, {}}, {false, id("sep")}}};
}

TemplatePostProcessor read_template(const JsonNode& node) {
  TemplatePostProcessor out;
  node.at("single").each([&](const JsonNode& item) {
    if (const auto sequence = item.find("Sequence")) {
      if (sequence->at("id").text() != "A") sequence->refuse("expected the id A in 'single'");
      out.items.push_back({true, {}});
      return;
    }
    const JsonNode name = item.at("SpecialToken").at("id");
    TemplateItem special;
    node.at("special_tokens").at(name.text()).at("ids").each([&](const JsonNode& id) {
      special.ids.push_back(static_cast<int32_t>(id.natural()));
    });
    out.items.push_back(std::move(special));
  });
  return out;
}

void read_post_processors(const JsonNode& node, std::vector<TemplatePostProcessor>& out) {
  const std::string_view type = node.at("type").text();
  if (type == "Sequence") {
    node.at("processors").each([&](const JsonNode& item) { read_post_processors(item, out); });
  } else if (type == "TemplateProcessing") {
    out.push_back(read_template(node));
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    out.push_back(read_cls_sep(node));
  } else if (type != "ByteLevel") {  // ByteLevel only moves offsets
    node.refuse(fmt::format("'{}' is no known post-processor", type));
  }
}

simdjson::dom::element parse(simdjson::dom::parser& parser, std::string_view text,
                             const std::string& source) {
  simdjson::dom::element root;
  if (const auto error = parser.parse(text.data(), text.size()).get(root)) {
    fail("'{}' is not valid JSON: {}", source, simdjson::error_message(error));
  }
  return root;
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view text, const std::string& source) {
  simdjson::dom::parser parser;
  const JsonNode root(parse(parser, text, source), source, "");
  TokenizerSpec spec;
  spec.source = source;
  if (const auto version = root.find("version"); version && version->text() != "1.0") {
    version->refuse(fmt::format("found '{}', expected '1.0'", version->text()));
  }
  spec.model = read_model(root.at("model"));
  if (const auto node = root.find("normalizer")) read_normalizers(*node, spec.normalizers);
  if (const auto node = root.find("pre_tokenizer")) read_pre_tokenizers(*node, spec.pre_tokenizers);
  if (const auto node = root.find("decoder")) read_decoders(*node, spec.decoders);
  if (const auto node = root.find("post_processor")) {
    read_post_processors(*node, spec.post_processors);
  }
  if (const auto node = root.find("added_tokens")) read_added_tokens(*node, spec);
  return spec;
}

TokenizerSpec read_tokenizer_json(const std::filesystem::path& path) {
  return parse_tokenizer_json(read_text(path), path.string());
}

}  // namespace tokamak
