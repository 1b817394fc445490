// Tokens to a Program. Depth of nesting is bounded, so a hostile template cannot exhaust the stack.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace tokamak::jinja {

constexpr int kMaxTreeHeight = 400;

class Parser {
 public:
  explicit Parser(std::string_view source);
  std::unique_ptr<Program> parse();

 private:
  // Names that end a body, e.g. "endfor", "else".
  using EndNames = std::vector<std::string_view>;

  // statements (parser.cc)
  Block parse_block(const EndNames& ends, size_t opened_at);
  Block parse_body(const EndNames& ends, size_t opened_at);
  Block parse_inner(const EndNames& ends, size_t opened_at, bool function);
  std::unique_ptr<Stmt> parse_statement();
  std::unique_ptr<Stmt> parse_for();
  std::unique_ptr<Stmt> parse_if();
  std::unique_ptr<Stmt> parse_set();
  std::unique_ptr<Stmt> parse_macro();
  std::unique_ptr<Stmt> parse_call_block();
  std::unique_ptr<Stmt> parse_filter_block();
  std::unique_ptr<Stmt> parse_with();
  std::unique_ptr<Stmt> parse_scope(const std::string& tag);
  std::unique_ptr<Stmt> parse_print_tag();
  std::unique_ptr<Stmt> parse_loop_control(StmtKind kind);
  void parse_signature(Signature& signature);
  ExprPtr parse_target(bool tuple_until_in, bool allow_namespace);
  void check_target(const Expr& target, size_t offset) const;

  // expressions (parser_expr.cc)
  ExprPtr parse_expression(bool conditional = true);
  ExprPtr parse_conditional();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter = true);
  ExprPtr parse_primary(bool allow_namespace = false);
  ExprPtr parse_name(bool allow_namespace);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr node);
  ExprPtr parse_filters(ExprPtr node);
  ExprPtr parse_filter(ExprPtr node);
  ExprPtr parse_test(ExprPtr node);
  ExprPtr parse_subscript(ExprPtr node);
  ExprPtr parse_subscript_item(ExprPtr sequence);
  ExprPtr parse_call(ExprPtr node);
  std::unique_ptr<CallArgs> parse_call_args();
  struct TupleOptions {
    bool primaries_only = false, conditional = true, parenthesized = false, allow_namespace = false;
    std::string_view end_name = {};  // a name that also ends the tuple
  };
  ExprPtr parse_tuple(const TupleOptions& options);
  ExprPtr make(ExprKind kind, size_t offset) const;
  ExprPtr constant(Value value, size_t offset) const;
  // Sets the height of a finished node; refuses a tree that is too high.
  ExprPtr finish(ExprPtr node) const;

  // tokens
  const Token& current() const { return tokens_[pos_]; }
  const Token& look() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool at_name(std::string_view name) const;
  bool at_op(std::string_view op) const;
  bool skip_name(std::string_view name);
  bool skip_op(std::string_view op);
  Token expect(TokenType type, std::string_view what);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  void expect_block_end() { expect(TokenType::kBlockEnd, "'%}'"); }
  [[noreturn]] void error(size_t offset, const std::string& message) const;
  [[noreturn]] void unexpected(std::string_view expected) const;
  NameId intern(const std::string& name);
  std::unique_ptr<Stmt> statement(StmtKind kind, size_t offset) const;

  std::string source_;
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  std::unique_ptr<Program> program_ = std::make_unique<Program>();
  std::unordered_map<std::string, NameId> ids_;
  std::vector<size_t> line_starts_;
  int line_at(size_t offset) const;

  // RAII count of nested calls.
  struct Nest {
    explicit Nest(Parser& p);
    ~Nest() { --parser.depth_; }
    Parser& parser;
  };
  int depth_ = 0;
  int loop_depth_ = 0;      // loops that a break may leave
  bool in_branch_ = false;  // an unknown filter is an error only where it runs
  // Unknown filters and tests met outside of a branch: name and place.
  std::vector<std::pair<std::string, size_t>> unknown_;
  // Macros being parsed, innermost last: special names that their bodies mention.
  std::vector<Stmt*> macros_;
};

}  // namespace tokamak::jinja
