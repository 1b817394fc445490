// Statements.
#include "text/jinja/parser.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/filters.h"

namespace tokamak::jinja {

namespace {
constexpr int kMaxParseDepth = 200;
}

Parser::Parser(std::string_view source)
    : source_(normalize_source(source)), tokens_(tokenize(source_)) {
  line_starts_.push_back(0);
  for (size_t i = 0; i < source_.size(); ++i)
    if (source_[i] == '\n') line_starts_.push_back(i + 1);
}

Parser::Nest::Nest(Parser& p) : parser(p) {
  if (++parser.depth_ > kMaxParseDepth) {
    --parser.depth_;
    parser.error(parser.current().offset, "the template is nested too deeply");
  }
}

int Parser::line_at(size_t offset) const {
  return static_cast<int>(std::upper_bound(line_starts_.begin(), line_starts_.end(), offset) -
                          line_starts_.begin());
}

void Parser::error(size_t offset, const std::string& message) const {
  syntax_error(source_, offset, message);
}

void Parser::unexpected(std::string_view expected) const {
  const Token& t = current();
  std::string found;
  switch (t.type) {
    case TokenType::kEnd:
      found = "the end of the template";
      break;
    case TokenType::kBlockEnd:
      found = "'%}'";
      break;
    case TokenType::kVariableEnd:
      found = "'}}'";
      break;
    default:
      found = "'" + t.text + "'";
  }
  error(t.offset, "expected " + std::string(expected) + ", found " + found);
}

Token Parser::next() {
  Token t = tokens_[pos_];
  if (pos_ + 1 < tokens_.size()) ++pos_;
  return t;
}

bool Parser::at_name(std::string_view name) const {
  return current().type == TokenType::kName && current().text == name;
}
bool Parser::at_op(std::string_view op) const {
  return current().type == TokenType::kOperator && current().text == op;
}
bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  next();
  return true;
}
bool Parser::skip_op(std::string_view op) {
  if (!at_op(op)) return false;
  next();
  return true;
}
Token Parser::expect(TokenType type, std::string_view what) {
  if (current().type != type) unexpected(what);
  return next();
}
void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) unexpected("'" + std::string(op) + "'");
}
void Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) unexpected("'" + std::string(name) + "'");
}

NameId Parser::intern(const std::string& name) {
  const auto [it, added] = ids_.emplace(name, static_cast<NameId>(program_->names.size()));
  if (added) program_->names.push_back(name);
  return it->second;
}

std::unique_ptr<Stmt> Parser::statement(StmtKind kind, size_t offset) const {
  auto s = std::make_unique<Stmt>();
  s->kind = kind;
  s->line = line_at(offset);
  return s;
}

std::unique_ptr<Program> Parser::parse() {
  program_->body = parse_block({}, 0);
  if (!unknown_.empty())
    error(unknown_[0].second, "there is no filter or test named '" + unknown_[0].first + "'");
  return std::move(program_);
}

// Statements up to one of the end tags; the tag's name is left as the current token.
Block Parser::parse_block(const EndNames& ends, size_t opened_at) {
  Nest nest(*this);
  Block block;
  for (;;) {
    const size_t offset = current().offset;
    switch (current().type) {
      case TokenType::kEnd:
        if (!ends.empty())
          error(opened_at, "this block is not closed by '" + std::string(ends.back()) + "'");
        return block;
      case TokenType::kData: {
        auto data = statement(StmtKind::kData, offset);
        data->data = next().text;
        block.push_back(std::move(data));
        break;
      }
      case TokenType::kVariableBegin: {
        next();
        auto print = statement(StmtKind::kPrint, offset);
        print->exprs.push_back(parse_tuple({}));
        expect(TokenType::kVariableEnd, "'}}'");
        block.push_back(std::move(print));
        break;
      }
      default:
        expect(TokenType::kBlockBegin, "'{%'");
        for (std::string_view end : ends)
          if (at_name(end)) return block;
        block.push_back(parse_statement());
        expect_block_end();
    }
  }
}

// The rest of an opening tag and the block it opens.
Block Parser::parse_body(const EndNames& ends, size_t opened_at) {
  skip_op(":");
  expect_block_end();
  return parse_block(ends, opened_at);
}

// A body with its own scope; a function's body also ends the reach of break and of branches.
Block Parser::parse_inner(const EndNames& ends, size_t opened_at, bool function) {
  const bool branch = std::exchange(in_branch_, false);
  const int loops = loop_depth_;
  if (function) loop_depth_ = 0;
  Block body = parse_body(ends, opened_at);
  loop_depth_ = loops;
  in_branch_ = branch;
  return body;
}

std::unique_ptr<Stmt> Parser::parse_statement() {
  if (current().type != TokenType::kName) unexpected("the name of a tag");
  const std::string& tag = current().text;
  if (tag == "for") return parse_for();
  if (tag == "if") return parse_if();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "with") return parse_with();
  if (tag == "print") return parse_print_tag();
  if (tag == "break") return parse_loop_control(StmtKind::kBreak);
  if (tag == "continue") return parse_loop_control(StmtKind::kContinue);
  if (tag == "generation" || tag == "block" || tag == "autoescape") return parse_scope(tag);
  if (tag == "include" || tag == "import" || tag == "from" || tag == "extends")
    error(current().offset, "'" + tag + "' is not available: a chat template is one file");
  error(current().offset, "unknown tag '" + tag + "'");
}

std::unique_ptr<Stmt> Parser::parse_for() {
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kFor, offset);
  s->targets.push_back(parse_target(true, false));
  expect_name("in");
  s->expr = parse_tuple({.conditional = false, .end_name = "recursive"});
  const bool branch = std::exchange(in_branch_, false);
  if (skip_name("if")) s->test = parse_expression();
  in_branch_ = branch;
  s->recursive = skip_name("recursive");
  ++loop_depth_;
  s->bodies.push_back(parse_inner({"else", "endfor"}, offset, false));
  --loop_depth_;
  if (next().text == "else") {
    s->otherwise = parse_inner({"endfor"}, offset, false);
    next();
  }
  return s;
}

std::unique_ptr<Stmt> Parser::parse_if() {
  const bool branch = std::exchange(in_branch_, true);
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kIf, offset);
  for (;;) {
    s->exprs.push_back(parse_tuple({.conditional = false}));
    s->bodies.push_back(parse_body({"elif", "else", "endif"}, offset));
    const Token end = next();
    if (end.text == "elif") continue;
    if (end.text == "else") {
      s->bodies.push_back(parse_body({"endif"}, offset));
      next();
    }
    break;
  }
  in_branch_ = branch;
  return s;
}

std::unique_ptr<Stmt> Parser::parse_set() {
  const size_t offset = next().offset;
  ExprPtr target = parse_target(false, true);
  auto s = statement(StmtKind::kSet, offset);
  s->targets.push_back(std::move(target));
  if (skip_op("=")) {
    s->expr = parse_tuple({});
    return s;
  }
  s->kind = StmtKind::kSetBlock;
  while (at_op("|")) s->expr = parse_filter(std::move(s->expr));
  s->bodies.push_back(parse_inner({"endset"}, offset, false));
  next();
  return s;
}

void Parser::parse_signature(Signature& signature) {
  expect_op("(");
  while (!at_op(")")) {
    if (!signature.names.empty()) expect_op(",");
    const Token name = expect(TokenType::kName, "a parameter's name");
    auto target = make(ExprKind::kName, name.offset);
    target->text = name.text;
    check_target(*target, name.offset);
    const NameId id = intern(name.text);
    if (std::count(signature.names.begin(), signature.names.end(), id))
      error(name.offset, "parameter '" + name.text + "' is named twice");
    signature.names.push_back(id);
    if (skip_op("="))
      signature.defaults.push_back(parse_expression());
    else if (!signature.defaults.empty())
      error(name.offset, "a parameter without a default follows one that has a default");
  }
  expect_op(")");
}

std::unique_ptr<Stmt> Parser::parse_macro() {
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kMacro, offset);
  const Token name = expect(TokenType::kName, "the macro's name");
  s->name = intern(name.text);
  macros_.push_back(s.get());
  const bool branch = std::exchange(in_branch_, false);
  parse_signature(s->signature);
  in_branch_ = branch;
  s->bodies.push_back(parse_inner({"endmacro"}, offset, true));
  next();
  macros_.pop_back();
  return s;
}

std::unique_ptr<Stmt> Parser::parse_call_block() {
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kCallBlock, offset);
  macros_.push_back(s.get());
  if (at_op("(")) parse_signature(s->signature);
  macros_.pop_back();
  s->expr = parse_expression();
  if (s->expr->kind != ExprKind::kCall) error(offset, "'call' needs a call of a macro");
  macros_.push_back(s.get());
  s->bodies.push_back(parse_inner({"endcall"}, offset, true));
  macros_.pop_back();
  next();
  return s;
}

std::unique_ptr<Stmt> Parser::parse_filter_block() {
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kFilterBlock, offset);
  s->expr = parse_filter(nullptr);
  while (at_op("|")) s->expr = parse_filter(std::move(s->expr));
  s->bodies.push_back(parse_inner({"endfilter"}, offset, false));
  next();
  return s;
}

std::unique_ptr<Stmt> Parser::parse_with() {
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kWith, offset);
  while (current().type != TokenType::kBlockEnd) {
    if (!s->targets.empty()) expect_op(",");
    s->targets.push_back(parse_target(false, false));
    expect_op("=");
    s->exprs.push_back(parse_expression());
  }
  s->bodies.push_back(parse_inner({"endwith"}, offset, false));
  next();
  return s;
}

// Tags whose body only gets its own scope: generation (marks the assistant's text for training),
// block (there is nothing to inherit from), autoescape false.
std::unique_ptr<Stmt> Parser::parse_scope(const std::string& name) {
  const std::string tag = name;
  const size_t offset = next().offset;
  auto s = statement(StmtKind::kScope, offset);
  if (tag == "block") {
    expect(TokenType::kName, "the block's name");
    skip_name("scoped");
    skip_name("required");
  } else if (tag == "autoescape") {
    const ExprPtr on = parse_expression();
    if (on->kind != ExprKind::kConst || truthy(on->constant))
      error(offset, "only 'autoescape false' is available");
  }
  const std::string end = "end" + tag;
  s->bodies.push_back(parse_inner({end}, offset, tag != "autoescape"));
  next();
  if (tag == "block" && current().type == TokenType::kName) next();
  return s;
}

std::unique_ptr<Stmt> Parser::parse_print_tag() {
  auto s = statement(StmtKind::kPrint, next().offset);
  while (current().type != TokenType::kBlockEnd) {
    if (!s->exprs.empty()) expect_op(",");
    s->exprs.push_back(parse_expression());
  }
  return s;
}

std::unique_ptr<Stmt> Parser::parse_loop_control(StmtKind kind) {
  const Token t = next();
  if (loop_depth_ == 0) error(t.offset, "'" + t.text + "' outside of a loop");
  return statement(kind, t.offset);
}

ExprPtr Parser::parse_target(bool until_in, bool allow_namespace) {
  const size_t offset = current().offset;
  TupleOptions options{.primaries_only = true, .allow_namespace = allow_namespace};
  if (until_in) options.end_name = "in";
  ExprPtr target = parse_tuple(options);
  check_target(*target, offset);
  return target;
}

void Parser::check_target(const Expr& target, size_t offset) const {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& child : target.children) check_target(*child, offset);
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) return;
  if (target.kind != ExprKind::kName) error(offset, "cannot assign to this expression");
  if (target.text == "loop" && loop_depth_ > 0)
    error(offset, "cannot assign to the special variable 'loop'");
}

}  // namespace tokamak::jinja
