#include "ops/op.h"

#include <array>

namespace tokamak {
namespace {

constexpr std::array<std::string_view, kOpCount> kNames = {
    "constant", "unary",        "binary",      "cast",           "reduce", "softmax",    "slice",
    "concat",   "reshape",      "gather_rows", "embedding",      "linear", "linear_glu", "glu",
    "rms_norm", "add_rms_norm", "layer_norm",  "add_layer_norm", "rope",   "attention",  "softcap",
    "chain",    "lora",         "all_reduce",  "all_gather",     "send",   "recv",       "plugin"};

std::string join(const std::vector<ValueType>& types) {
  std::string s;
  for (const ValueType& t : types) s += (s.empty() ? "" : ", ") + str(t);
  return s;
}

}  // namespace

std::string_view name(Op op) { return kNames[static_cast<size_t>(op)]; }

Op parse_op(std::string_view text) {
  std::string known;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (text == kNames[i]) return static_cast<Op>(i);
    known += (i ? ", " : "") + std::string(kNames[i]);
  }
  fail("unknown op '{}'; known: {}", text, known);
}

std::string str(const SymShape& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) s += ", ";
    switch (shape[i].symbol) {
      case Symbol::none:
        s += std::to_string(shape[i].size);
        break;
      case Symbol::tokens:
        s += "tokens";
        break;
      case Symbol::sequences:
        s += "sequences";
        break;
    }
  }
  return s + "]";
}

std::string str(const ValueType& type) {
  std::string shape = str(type.shape);
  if (type.is_weight) shape = "{" + shape.substr(1, shape.size() - 2) + "}";
  return std::string(name(type.dtype)) + shape;
}

std::string OpSignature::key() const {
  return fmt::format("{}({})({})->({})", name(op), attrs.key(), join(inputs), join(outputs));
}

}  // namespace tokamak
