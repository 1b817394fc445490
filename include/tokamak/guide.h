// Guided decoding: outputs that match a JSON schema, a regular expression, a grammar or one of some
// texts. LLM::guide compiles it for the model's vocabulary; SamplingParams carries it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace tokamak {

class Guide;  // compiled; shared by requests

struct GuideSpec {
  enum class Kind {
    json_object,     // any JSON object
    json_schema,     // text: the schema
    regex,           // text: a pattern that the whole output matches
    grammar,         // text: rules, from `root` on
    choice,          // one of `choices`
    calls,           // `begin`, then one to max_calls of `calls`, then `end`
    structural_tag,  // text: JSON that says where tags may stand in free text
  };
  // One of a tool's calls: `begin`, JSON of the schema `arguments`, `end`.
  struct Call {
    std::string begin, arguments, end;
  };
  Kind kind = Kind::json_object;
  std::string text = {};
  std::vector<std::string> choices = {};
  bool compact = false;  // JSON without white space between values
  std::vector<Call> calls = {};
  std::string begin = {}, separator = {}, end = {};
  int64_t max_calls = 1;
};

}  // namespace tokamak
