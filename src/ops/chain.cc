#include "ops/chain.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/half.h"
#include "ops/scalar_math.h"

namespace tokamak {
namespace {

constexpr std::array<std::string_view, kChainOps> kNames = {
    "neg", "abs",     "exp",  "log",  "sqrt",      "rsqrt", "square",    "tanh",
    "erf", "sigmoid", "silu", "gelu", "gelu_tanh", "relu",  "round_f16", "round_bf16",
    "add", "sub",     "mul",  "div",  "pow",       "max",   "min"};

[[noreturn]] void bad(std::string_view line, std::string_view why) {
  fail("chain: '{}': {}", line, why);
}

// The words of a line, parted by single spaces.
std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> list;
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    list.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return list;
}

template <typename T>
bool read_number(std::string_view word, T& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

ChainOperand parse_operand(std::string_view line, std::string_view word, int steps) {
  ChainOperand o;
  if (!word.empty() && (word[0] == 'x' || word[0] == 't')) {
    o.kind = word[0] == 'x' ? ChainOperand::input : ChainOperand::step;
    const int limit = o.kind == ChainOperand::input ? kChainMaxInputs : steps;
    if (!read_number(word.substr(1), o.index) || o.index < 0 || o.index >= limit)
      bad(line, fmt::format("'{}' is no operand and no earlier step", word));
    return o;
  }
  if (!read_number(word, o.value)) bad(line, fmt::format("'{}' is no number", word));
  return o;
}

std::string text_of(const ChainOperand& o) {
  if (o.kind == ChainOperand::number) return fmt::format("{}", o.value);
  return fmt::format("{}{}", o.kind == ChainOperand::input ? 'x' : 't', o.index);
}

ChainOp parse_chain_op(std::string_view line, std::string_view word) {
  const auto it = std::find(kNames.begin(), kNames.end(), word);
  if (it == kNames.end()) bad(line, fmt::format("'{}' is no step of a chain", word));
  return static_cast<ChainOp>(it - kNames.begin());
}

void parse_line(std::string_view line, Chain& chain) {
  const std::vector<std::string_view> w = words(line);
  const int steps = static_cast<int>(chain.steps.size());
  if (w[0] == "out") {
    if (w.size() != 3) bad(line, "expected a dtype and a step");
    const DType t = parse_dtype(w[1]);
    if (!is_chain_dtype(t)) bad(line, "outputs are f32, f16 or bf16");
    const ChainOperand o = parse_operand(line, w[2], steps);
    if (o.kind != ChainOperand::step) bad(line, "an output is a step");
    chain.outputs.push_back({t, o.index});
    return;
  }
  if (!chain.outputs.empty()) bad(line, "outputs come last");
  ChainStep s;
  s.op = parse_chain_op(line, w[0]);
  if (w.size() != (takes_two(s.op) ? 3u : 2u)) bad(line, "another number of operands is needed");
  s.a = parse_operand(line, w[1], steps);
  if (takes_two(s.op)) s.b = parse_operand(line, w[2], steps);
  chain.steps.push_back(s);
}

template <typename F>
void each_operand(const ChainStep& s, F f) {
  f(s.a);
  if (takes_two(s.op)) f(s.b);
}

}  // namespace

std::string_view name(ChainOp op) { return kNames[static_cast<size_t>(op)]; }

int Chain::inputs() const {
  int n = 0;
  for (const ChainStep& s : steps)
    each_operand(s, [&](const ChainOperand& o) {
      if (o.kind == ChainOperand::input) n = std::max(n, o.index + 1);
    });
  return n;
}

std::string Chain::text() const {
  std::string s;
  for (const ChainStep& step : steps) {
    s += fmt::format("{} {}", tokamak::name(step.op), text_of(step.a));
    if (takes_two(step.op)) s += " " + text_of(step.b);
    s += "; ";
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    s += fmt::format("{}out {} t{}", i ? "; " : "", tokamak::name(outputs[i].dtype),
                     outputs[i].step);
  return s;
}

Chain Chain::parse(std::string_view text) {
  Chain chain;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find("; ", at), text.size());
    parse_line(text.substr(at, end - at), chain);
    if (chain.steps.size() > kChainMaxSteps || chain.outputs.size() > kChainMaxOutputs)
      fail("chain: more than {} steps or {} outputs", kChainMaxSteps, kChainMaxOutputs);
    at = end + 2;
  }
  if (chain.outputs.empty()) fail("chain: '{}' has no output", text);
  std::array<bool, kChainMaxInputs> read{};
  for (const ChainStep& s : chain.steps)
    each_operand(s, [&](const ChainOperand& o) {
      if (o.kind == ChainOperand::input) read[static_cast<size_t>(o.index)] = true;
    });
  const int n = chain.inputs();
  for (int i = 0; i < n; ++i)
    if (!read[static_cast<size_t>(i)]) fail("chain: '{}' does not read x{}", text, i);
  if (n == 0) fail("chain: '{}' reads no operand", text);
  return chain;
}

std::vector<bool> Chain::uniform_steps(const std::vector<bool>& narrow) const {
  std::vector<bool> uniform;
  for (const ChainStep& s : steps) {
    bool all = true;
    each_operand(s, [&](const ChainOperand& o) {
      if (o.kind == ChainOperand::input) all = all && narrow.at(static_cast<size_t>(o.index));
      if (o.kind == ChainOperand::step) all = all && uniform.at(static_cast<size_t>(o.index));
    });
    uniform.push_back(all);
  }
  return uniform;
}

double chain_flops(const Chain& chain) {
  double flops = 0;
  for (const ChainStep& s : chain.steps) {
    const bool simple = s.op == ChainOp::neg || s.op == ChainOp::abs || s.op == ChainOp::square ||
                        s.op == ChainOp::relu || (takes_two(s.op) && s.op != ChainOp::pow);
    flops += simple ? 1 : 8;
  }
  return flops;
}

double apply(ChainOp op, double a, double b) {
  if (op == ChainOp::round_f16) return f16_to_f32(f32_to_f16(static_cast<float>(a)));
  if (op == ChainOp::round_bf16) return bf16_to_f32(f32_to_bf16(static_cast<float>(a)));
  if ((op == ChainOp::max || op == ChainOp::min) && (std::isnan(a) || std::isnan(b))) return a + b;
  return takes_two(op) ? apply_binary(name(op), a, b) : apply_unary(name(op), a);
}

}  // namespace tokamak
