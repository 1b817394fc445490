// Expressions, by falling precedence of their callers: conditional, or, and, not, comparison,
// + -, ~, * / // %, **, unary, then postfix and filters.
#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/parser.h"

namespace tokamak::jinja {

ExprPtr Parser::make(ExprKind kind, size_t offset) const {
  auto e = std::make_unique<Expr>();
  e->kind = kind;
  e->line = line_at(offset);
  return e;
}

ExprPtr Parser::constant(Value value, size_t offset) const {
  auto e = make(ExprKind::kConst, offset);
  e->constant = std::move(value);
  return e;
}

ExprPtr Parser::finish(ExprPtr node) const {
  int height = 0;
  const auto grow = [&](const ExprPtr& child) {
    if (child) height = std::max(height, child->height);
  };
  for (const ExprPtr& child : node->children) grow(child);
  if (node->args) {
    for (const ExprPtr& arg : node->args->positional) grow(arg);
    for (const auto& [name, arg] : node->args->keywords) grow(arg);
    grow(node->args->star);
    grow(node->args->double_star);
  }
  node->height = height + 1;
  if (node->height > kMaxTreeHeight)
    error(current().offset, "this expression is nested too deeply");
  return node;
}

ExprPtr Parser::parse_expression(bool conditional) {
  return conditional ? parse_conditional() : parse_or();
}

ExprPtr Parser::parse_conditional() {
  Nest nest(*this);
  const size_t offset = current().offset;
  const size_t unknown = unknown_.size();
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    auto node = make(ExprKind::kConditional, offset);
    node->children.push_back(parse_or());
    node->children.push_back(std::move(value));
    if (skip_name("else")) node->children.push_back(parse_conditional());
    value = finish(std::move(node));
    unknown_.resize(std::min(unknown, unknown_.size()));
  }
  return value;
}

ExprPtr Parser::parse_or() {
  ExprPtr left = parse_and();
  while (at_name("or")) {
    auto node = make(ExprKind::kOr, next().offset);
    node->children.push_back(std::move(left));
    node->children.push_back(parse_and());
    left = finish(std::move(node));
  }
  return left;
}

ExprPtr Parser::parse_and() {
  ExprPtr left = parse_not();
  while (at_name("and")) {
    auto node = make(ExprKind::kAnd, next().offset);
    node->children.push_back(std::move(left));
    node->children.push_back(parse_not());
    left = finish(std::move(node));
  }
  return left;
}

ExprPtr Parser::parse_not() {
  if (!at_name("not")) return parse_compare();
  Nest nest(*this);
  auto node = make(ExprKind::kNot, next().offset);
  node->children.push_back(parse_not());
  return finish(std::move(node));
}

namespace {
bool comparison(const Token& t, CompareOp& op) {
  if (t.type != TokenType::kOperator) return false;
  static constexpr std::pair<std::string_view, CompareOp> kOps[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  for (const auto& [text, value] : kOps) {
    if (t.text != text) continue;
    op = value;
    return true;
  }
  return false;
}
}  // namespace

ExprPtr Parser::parse_compare() {
  const size_t offset = current().offset;
  ExprPtr first = parse_sum();
  ExprPtr node;
  for (;;) {
    CompareOp op;
    if (comparison(current(), op)) {
      next();
    } else if (skip_name("in")) {
      op = CompareOp::kIn;
    } else if (at_name("not") && look().type == TokenType::kName && look().text == "in") {
      next();
      next();
      op = CompareOp::kNotIn;
    } else {
      break;
    }
    if (!node) {
      node = make(ExprKind::kCompare, offset);
      node->children.push_back(std::move(first));
    }
    node->compares.push_back(op);
    node->children.push_back(parse_sum());
  }
  return node ? finish(std::move(node)) : std::move(first);
}

ExprPtr Parser::parse_sum() {
  ExprPtr left = parse_concat();
  while (at_op("+") || at_op("-")) {
    const Token t = next();
    auto node = make(ExprKind::kBinary, t.offset);
    node->op = t.text == "+" ? BinaryOp::kAdd : BinaryOp::kSub;
    node->children.push_back(std::move(left));
    node->children.push_back(parse_concat());
    left = finish(std::move(node));
  }
  return left;
}

ExprPtr Parser::parse_concat() {
  ExprPtr first = parse_product();
  if (!at_op("~")) return first;
  auto node = make(ExprKind::kConcat, current().offset);
  node->children.push_back(std::move(first));
  while (skip_op("~")) node->children.push_back(parse_product());
  return finish(std::move(node));
}

ExprPtr Parser::parse_product() {
  ExprPtr left = parse_power();
  while (at_op("*") || at_op("/") || at_op("//") || at_op("%")) {
    const Token t = next();
    auto node = make(ExprKind::kBinary, t.offset);
    node->op = t.text == "*"    ? BinaryOp::kMul
               : t.text == "/"  ? BinaryOp::kDiv
               : t.text == "//" ? BinaryOp::kFloorDiv
                                : BinaryOp::kMod;
    node->children.push_back(std::move(left));
    node->children.push_back(parse_power());
    left = finish(std::move(node));
  }
  return left;
}

ExprPtr Parser::parse_power() {
  ExprPtr left = parse_unary();
  while (at_op("**")) {
    auto node = make(ExprKind::kBinary, next().offset);
    node->op = BinaryOp::kPow;
    node->children.push_back(std::move(left));
    node->children.push_back(parse_unary());
    left = finish(std::move(node));
  }
  return left;
}

ExprPtr Parser::parse_unary(bool with_filter) {
  ExprPtr node;
  if (at_op("-") || at_op("+")) {
    Nest nest(*this);
    const Token t = next();
    node = make(t.text == "-" ? ExprKind::kNegate : ExprKind::kPositive, t.offset);
    node->children.push_back(parse_unary(false));
    node = finish(std::move(node));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filters(std::move(node)) : std::move(node);
}

ExprPtr Parser::parse_name(bool allow_namespace) {
  const Token t = next();
  if (t.text == "true" || t.text == "True") return constant(Value::boolean(true), t.offset);
  if (t.text == "false" || t.text == "False") return constant(Value::boolean(false), t.offset);
  if (t.text == "none" || t.text == "None") return constant(Value(), t.offset);
  const bool ref = allow_namespace && at_op(".");
  auto node = make(ref ? ExprKind::kNamespaceRef : ExprKind::kName, t.offset);
  node->name = intern(t.text);
  node->text = t.text;
  if (ref) {
    next();
    node->text = expect(TokenType::kName, "an attribute's name").text;
  }
  for (Stmt* macro : macros_) {
    macro->uses_caller |= t.text == "caller";
    macro->uses_kwargs |= t.text == "kwargs";
    macro->uses_varargs |= t.text == "varargs";
  }
  return node;
}

ExprPtr Parser::parse_primary(bool allow_namespace) {
  const size_t offset = current().offset;
  switch (current().type) {
    case TokenType::kName:
      return parse_name(allow_namespace);
    case TokenType::kString: {
      std::string text;
      while (current().type == TokenType::kString) text += next().text;
      return constant(make_string(program_->heap, std::move(text)), offset);
    }
    case TokenType::kInteger:
      try {
        return constant(Value::integer(parse_int(next().text, 0).value()), offset);
      } catch (const Failure& f) {
        error(offset, f.message);
      }
    case TokenType::kFloat:
      return constant(Value::real(std::strtod(next().text.c_str(), nullptr)), offset);
    default:
      break;
  }
  if (skip_op("(")) {
    ExprPtr node = parse_tuple({.parenthesized = true});
    expect_op(")");
    return node;
  }
  if (at_op("[")) return parse_list();
  if (at_op("{")) return parse_dict();
  unexpected("an expression");
}

ExprPtr Parser::parse_tuple(const TupleOptions& options) {
  Nest nest(*this);
  const size_t offset = current().offset;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) expect_op(",");
    const TokenType type = current().type;
    if (type == TokenType::kVariableEnd || type == TokenType::kBlockEnd || at_op(")") ||
        (!options.end_name.empty() && at_name(options.end_name)))
      break;
    items.push_back(options.primaries_only ? parse_primary(options.allow_namespace)
                                           : parse_expression(options.conditional));
    if (!at_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!options.parenthesized) unexpected("an expression");
  }
  auto node = make(ExprKind::kTuple, offset);
  node->children = std::move(items);
  return finish(std::move(node));
}

ExprPtr Parser::parse_list() {
  auto node = make(ExprKind::kList, next().offset);
  while (!at_op("]")) {
    if (!node->children.empty()) expect_op(",");
    if (at_op("]")) break;
    node->children.push_back(parse_expression());
  }
  expect_op("]");
  return finish(std::move(node));
}

ExprPtr Parser::parse_dict() {
  auto node = make(ExprKind::kDict, next().offset);
  while (!at_op("}")) {
    if (!node->children.empty()) expect_op(",");
    if (at_op("}")) break;
    node->children.push_back(parse_expression());
    expect_op(":");
    node->children.push_back(parse_expression());
  }
  expect_op("}");
  return finish(std::move(node));
}

ExprPtr Parser::parse_postfix(ExprPtr node) {
  for (;;) {
    if (at_op(".") || at_op("["))
      node = parse_subscript(std::move(node));
    else if (at_op("("))
      node = parse_call(std::move(node));
    else
      return node;
  }
}

ExprPtr Parser::parse_filters(ExprPtr node) {
  for (;;) {
    if (at_op("|"))
      node = parse_filter(std::move(node));
    else if (at_name("is"))
      node = parse_test(std::move(node));
    else if (at_op("("))
      node = parse_call(std::move(node));
    else
      return node;
  }
}

// "| name(args)", or without the bar at the start of a filter block.
ExprPtr Parser::parse_filter(ExprPtr operand) {
  skip_op("|");
  const Token name = expect(TokenType::kName, "a filter's name");
  auto node = make(ExprKind::kFilter, name.offset);
  node->text = name.text;
  while (skip_op(".")) node->text += "." + expect(TokenType::kName, "a filter's name").text;
  if (!in_branch_ && !filter_exists(node->text)) unknown_.emplace_back(node->text, name.offset);
  node->children.push_back(std::move(operand));
  node->args = at_op("(") ? parse_call_args() : std::make_unique<CallArgs>();
  return finish(std::move(node));
}

ExprPtr Parser::parse_test(ExprPtr operand) {
  const size_t offset = next().offset;
  const bool negated = skip_name("not");
  auto node = make(ExprKind::kTest, offset);
  node->text = expect(TokenType::kName, "a test's name").text;
  while (skip_op(".")) node->text += "." + expect(TokenType::kName, "a test's name").text;
  if (!in_branch_ && !test_exists(node->text)) unknown_.emplace_back(node->text, offset);
  node->children.push_back(std::move(operand));
  const Token& t = current();
  const bool starts_argument =
      (t.type == TokenType::kName && t.text != "else" && t.text != "or" && t.text != "and") ||
      t.type == TokenType::kString || t.type == TokenType::kInteger ||
      t.type == TokenType::kFloat || at_op("[") || at_op("{");
  if (at_op("(")) {
    node->args = parse_call_args();
  } else {
    node->args = std::make_unique<CallArgs>();
    if (starts_argument) {
      if (at_name("is")) error(t.offset, "tests cannot be chained with 'is'");
      Nest nest(*this);
      node->args->positional.push_back(parse_postfix(parse_primary()));
    }
  }
  ExprPtr test = finish(std::move(node));
  if (!negated) return test;
  auto inverse = make(ExprKind::kNot, offset);
  inverse->children.push_back(std::move(test));
  return finish(std::move(inverse));
}

ExprPtr Parser::parse_subscript(ExprPtr node) {
  const Token t = next();
  if (t.text == ".") {
    const Token name = next();
    const bool attribute = name.type == TokenType::kName;
    if (!attribute && name.type != TokenType::kInteger)
      error(name.offset, "expected a name or a number after '.'");
    auto access = make(attribute ? ExprKind::kAttribute : ExprKind::kItem, t.offset);
    access->children.push_back(std::move(node));
    access->text = name.text;
    if (!attribute) {
      const auto index = parse_int(name.text, 10);
      if (!index) error(name.offset, "expected a decimal number after '.'");
      access->children.push_back(constant(Value::integer(*index), name.offset));
    }
    return finish(std::move(access));
  }
  Nest nest(*this);
  if (at_op("]")) unexpected("an index");
  ExprPtr item = parse_subscript_item(std::move(node));
  if (at_op(",")) error(current().offset, "an index of several parts is not supported");
  expect_op("]");
  return item;
}

// Inside brackets: an index, or a slice.
ExprPtr Parser::parse_subscript_item(ExprPtr sequence) {
  const size_t offset = current().offset;
  ExprPtr start;
  if (!at_op(":")) {
    start = parse_expression();
    if (!at_op(":")) {
      auto node = make(ExprKind::kItem, offset);
      node->children.push_back(std::move(sequence));
      node->children.push_back(std::move(start));
      return finish(std::move(node));
    }
  }
  next();
  auto node = make(ExprKind::kSlice, offset);
  node->children.push_back(std::move(sequence));
  node->children.push_back(std::move(start));
  const auto part = [&]() -> ExprPtr {
    if (at_op(":") || at_op("]") || at_op(",")) return nullptr;
    return parse_expression();
  };
  node->children.push_back(part());
  node->children.push_back(skip_op(":") ? part() : nullptr);
  return finish(std::move(node));
}

ExprPtr Parser::parse_call(ExprPtr node) {
  auto call = make(ExprKind::kCall, current().offset);
  call->children.push_back(std::move(node));
  call->args = parse_call_args();
  return finish(std::move(call));
}

std::unique_ptr<CallArgs> Parser::parse_call_args() {
  Nest nest(*this);
  auto args = std::make_unique<CallArgs>();
  const size_t offset = current().offset;
  const auto ensure = [&](bool ok) {
    if (!ok) error(offset, "these arguments are in an order that calls do not allow");
  };
  expect_op("(");
  for (bool first = true; !at_op(")"); first = false) {
    if (!first) {
      expect_op(",");
      if (at_op(")")) break;
    }
    if (skip_op("*")) {
      ensure(!args->star && !args->double_star);
      args->star = parse_expression();
    } else if (skip_op("**")) {
      ensure(!args->double_star);
      args->double_star = parse_expression();
    } else if (current().type == TokenType::kName && look().type == TokenType::kOperator &&
               look().text == "=") {
      ensure(!args->double_star);
      const Token name = next();
      next();
      for (const auto& [known, value] : args->keywords)
        if (known == name.text) error(name.offset, "argument '" + name.text + "' is given twice");
      args->keywords.emplace_back(name.text, parse_expression());
    } else {
      ensure(!args->star && !args->double_star && args->keywords.empty());
      args->positional.push_back(parse_expression());
    }
  }
  expect_op(")");
  return args;
}

}  // namespace tokamak::jinja
