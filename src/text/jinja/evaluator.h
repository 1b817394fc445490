// Runs a Program. One evaluator renders once; it owns everything that the rendering makes.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/jinja/ast.h"

namespace tokamak::jinja {

struct Limits {
  size_t max_steps, max_output_bytes, max_memory_bytes;
  int max_depth;
};

// Variables of one scope; inner scopes see outer ones and shadow them.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<NameId, Value>> variables;
  const Value* find(NameId name) const;
  void set(NameId name, const Value& value);
};

// What raise_exception throws: the message is for the user as it stands.
struct RaisedByTemplate {
  std::string message;
};

class Evaluator {
 public:
  Evaluator(const Program& program, const OrderedJson& variables, const Limits& limits,
            std::chrono::system_clock::time_point now);
  ~Evaluator();
  std::string render();
  int line() const { return line_; }

  // For filters, tests and globals.
  Heap& heap() { return heap_; }
  std::chrono::system_clock::time_point now() const { return now_; }
  Value call(const Value& callee, Arguments& args);
  Value string(std::string text) { return make_string(heap_, std::move(text)); }
  std::string text(const Value& v) { return to_text(heap_, v); }
  void own(std::shared_ptr<NamespaceObject> ns) { namespaces_.push_back(std::move(ns)); }

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };
  struct Nest {
    explicit Nest(Evaluator& e);
    ~Nest() { --evaluator.depth_; }
    Evaluator& evaluator;
  };

  // statements (eval_stmt.cc)
  Flow exec(const Block& block);
  Flow exec(const Stmt& s);
  Flow exec_if(const Stmt& s);
  Flow exec_for(const Stmt& s);
  Flow exec_set_block(const Stmt& s);
  Flow exec_filter_block(const Stmt& s);
  Flow exec_with(const Stmt& s);
  Flow exec_scoped(const Block& block);
  void exec_call_block(const Stmt& s);
  Flow run_loop(const Stmt& s, const Value& sequence, int depth0);
  Value filtered(const Stmt& s, const Value& sequence);
  Value make_macro(const Stmt& s, std::string name);
  Value call_macro(const Stmt& s, const std::string& name, const std::shared_ptr<Scope>& scope,
                   Arguments& args);
  void bind_parameters(const Stmt& s, const std::string& name, Arguments& args);
  void assign(const Expr& target, const Value& value);
  void check_namespace_targets(const Expr& target);
  void print(const Value& v);
  void write(std::string_view text);

  // expressions (eval_expr.cc)
  Value eval(const Expr& e);
  Value eval_name(NameId name);
  Value eval_items(const Expr& e);
  Value eval_dict(const Expr& e);
  Value eval_compare(const Expr& e);
  Value eval_concat(const Expr& e);
  Value eval_filter(const Expr& e, const Value* block_text);
  Value eval_test(const Expr& e);
  Value eval_slice(const Expr& e);
  Value eval_call(const Expr& e, const Value* caller);
  Arguments eval_args(const CallArgs& args);
  const Value* global(NameId name);

  Heap heap_;  // first: outlives every value
  const Program& program_;
  const OrderedJson& variables_;
  Limits limits_;
  std::chrono::system_clock::time_point now_;
  std::vector<std::optional<Value>> globals_;  // by name, filled on first use
  std::vector<bool> global_known_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>>
      captured_;  // by macros: cleared at the end, for they form cycles
  std::vector<std::shared_ptr<NamespaceObject>> namespaces_;
  std::string output_;
  std::string* out_ = &output_;
  NameId loop_name_ = -1, caller_name_ = -1, kwargs_name_ = -1, varargs_name_ = -1;
  int line_ = 0;
  int depth_ = 0, call_depth_ = 0;
};

// access.cc: obj.name and obj[key] as the sandbox allows them.
Value get_attribute(Heap& heap, const Value& v, std::string_view name);
Value get_item(Heap& heap, const Value& v, const Value& key);
Value get_slice(Heap& heap, const Value& v, const Value& start, const Value& stop,
                const Value& step);
// A method of a str, list, tuple, dict … ; nothing when the type has none of this name.
using Method = Value (*)(Heap&, const Value& self, Arguments&);
Method find_method(const Value& self, std::string_view name);
Method find_string_method(std::string_view name);
Method find_container_method(Kind kind, std::string_view name);

// globals.cc: range, dict, namespace, raise_exception …; nothing for an unknown name.
std::optional<Value> make_global(Evaluator& evaluator, std::string_view name);

// json_text.cc
// The variable of this name; nothing when there is none.
std::optional<Value> import_variable(Heap& heap, const OrderedJson& variables,
                                     const std::string& name);
Value to_json_filter(Evaluator& evaluator, const Value& v, Arguments& args);

}  // namespace tokamak::jinja
