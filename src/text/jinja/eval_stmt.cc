// Statements, scopes and macros.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/loop.h"

namespace tokamak::jinja {

const Value* Scope::find(NameId name) const {
  for (const auto& [id, value] : variables)
    if (id == name) return &value;
  return nullptr;
}

void Scope::set(NameId name, const Value& value) {
  for (auto& [id, v] : variables) {
    if (id != name) continue;
    v = value;
    return;
  }
  variables.emplace_back(name, value);
}

Evaluator::Nest::Nest(Evaluator& e) : evaluator(e) {
  if (++e.depth_ > 15 * e.limits_.max_depth) {
    --e.depth_;
    raise("the template recurses too deeply");
  }
}

Evaluator::Evaluator(const Program& program, const OrderedJson& variables, const Limits& limits,
                     std::chrono::system_clock::time_point now)
    : heap_(limits.max_memory_bytes, limits.max_steps),
      program_(program),
      variables_(variables),
      limits_(limits),
      now_(now),
      globals_(program.names.size()),
      global_known_(program.names.size()),
      scope_(std::make_shared<Scope>()) {
  const auto id = [&](std::string_view name) {
    const auto it = std::find(program.names.begin(), program.names.end(), name);
    return it == program.names.end() ? -1 : static_cast<NameId>(it - program.names.begin());
  };
  loop_name_ = id("loop");
  caller_name_ = id("caller");
  kwargs_name_ = id("kwargs");
  varargs_name_ = id("varargs");
}

Evaluator::~Evaluator() {
  // Namespaces and the scopes of macros may hold each other.
  for (const auto& ns : namespaces_) ns->attributes.clear();
  for (const auto& scope : captured_) scope->variables.clear();
}

std::string Evaluator::render() {
  exec(program_.body);
  return std::move(output_);
}

void Evaluator::write(std::string_view text) {
  if (text.size() > limits_.max_output_bytes - std::min(out_->size(), limits_.max_output_bytes))
    raise("the output exceeds {} bytes", limits_.max_output_bytes);
  heap_.tick(1 + text.size() / 64);
  *out_ += text;
}

void Evaluator::print(const Value& v) {
  if (v.is_string())
    write(v.text());
  else
    write(to_text(heap_, v));
}

Evaluator::Flow Evaluator::exec(const Block& block) {
  Nest nest(*this);
  for (const auto& s : block)
    if (const Flow flow = exec(*s); flow != Flow::kNext) return flow;
  return Flow::kNext;
}

Evaluator::Flow Evaluator::exec(const Stmt& s) {
  heap_.tick();
  line_ = s.line;
  switch (s.kind) {
    case StmtKind::kData:
      write(s.data);
      break;
    case StmtKind::kPrint:
      for (const ExprPtr& e : s.exprs) print(eval(*e));
      break;
    case StmtKind::kFor:
      return exec_for(s);
    case StmtKind::kIf:
      return exec_if(s);
    case StmtKind::kSet:
      check_namespace_targets(*s.targets[0]);
      assign(*s.targets[0], eval(*s.expr));
      break;
    case StmtKind::kSetBlock:
      return exec_set_block(s);
    case StmtKind::kMacro:
      scope_->set(s.name, make_macro(s, program_.names[static_cast<size_t>(s.name)]));
      break;
    case StmtKind::kCallBlock:
      exec_call_block(s);
      break;
    case StmtKind::kFilterBlock:
      return exec_filter_block(s);
    case StmtKind::kWith:
      return exec_with(s);
    case StmtKind::kScope:
      return exec_scoped(s.bodies[0]);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::exec_if(const Stmt& s) {
  for (size_t i = 0; i < s.exprs.size(); ++i)
    if (truthy(eval(*s.exprs[i]))) return exec(s.bodies[i]);
  return s.bodies.size() > s.exprs.size() ? exec(s.bodies.back()) : Flow::kNext;
}

Evaluator::Flow Evaluator::exec_scoped(const Block& block) {
  const auto outer = scope_;
  scope_ = std::make_shared<Scope>(Scope{outer, {}});
  const Flow flow = exec(block);
  scope_ = outer;
  return flow;
}

Evaluator::Flow Evaluator::exec_for(const Stmt& s) {
  const Value sequence = eval(*s.expr);
  if (!s.recursive) return run_loop(s, filtered(s, sequence), 0);
  // A recursive loop is a function: its text is written when it is complete.
  run_loop(s, filtered(s, sequence), 0);
  return Flow::kNext;
}

// The items that pass the loop's filter, tested as they are drawn.
Value Evaluator::filtered(const Stmt& s, const Value& sequence) {
  if (!s.test) return sequence;
  const Value source = iterate(heap_, sequence);
  return make_iterator(
      heap_, "generator", nesting(source) + 1, [this, &s, source, outer = scope_](Value& item) {
        while (source.iterator().next(item)) {
          const auto saved = std::exchange(scope_, std::make_shared<Scope>(Scope{outer, {}}));
          assign(*s.targets[0], item);
          const bool pass = truthy(eval(*s.test));
          scope_ = saved;
          if (pass) return true;
        }
        return false;
      });
}

Evaluator::Flow Evaluator::run_loop(const Stmt& s, const Value& sequence, int depth0) {
  const auto outer = scope_;
  const auto loop = std::make_shared<LoopObject>(heap_, sequence, depth0);
  if (s.recursive)
    loop->recurse = [this, &s, outer, depth0](const Value& items) {
      if (depth0 + 1 >= limits_.max_depth)
        raise("a loop recurses more than {} times", limits_.max_depth);
      Nest nest(*this);
      std::string text;
      const auto out = std::exchange(out_, &text);
      const auto saved = std::exchange(scope_, outer);
      run_loop(s, filtered(s, items), depth0 + 1);
      scope_ = saved;
      out_ = out;
      return string(std::move(text));
    };
  const Value loop_value(Kind::kLoop, loop);
  bool empty = true;
  Value item;
  auto inner = std::make_shared<Scope>(Scope{outer, {}});
  while (loop->advance(item)) {
    heap_.tick();
    if (inner.use_count() > 1) inner = std::make_shared<Scope>(Scope{outer, {}});
    inner->variables.clear();
    scope_ = inner;
    if (loop_name_ >= 0) inner->set(loop_name_, loop_value);
    assign(*s.targets[0], item);
    const Flow flow = exec(s.bodies[0]);
    scope_ = outer;
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNext) empty = false;
  }
  inner->variables.clear();
  return empty && !s.otherwise.empty() ? exec_scoped(s.otherwise) : Flow::kNext;
}

Evaluator::Flow Evaluator::exec_set_block(const Stmt& s) {
  std::string text;
  const auto out = std::exchange(out_, &text);
  const Flow flow = exec_scoped(s.bodies[0]);
  out_ = out;
  if (flow != Flow::kNext) return flow;
  Value value = string(std::move(text));
  if (s.expr) value = eval_filter(*s.expr, &value);
  check_namespace_targets(*s.targets[0]);
  assign(*s.targets[0], value);
  return Flow::kNext;
}

Evaluator::Flow Evaluator::exec_filter_block(const Stmt& s) {
  std::string text;
  const auto out = std::exchange(out_, &text);
  const Flow flow = exec_scoped(s.bodies[0]);
  out_ = out;
  if (flow != Flow::kNext) return flow;
  const Value value = string(std::move(text));
  print(eval_filter(*s.expr, &value));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::exec_with(const Stmt& s) {
  const auto outer = scope_;
  const auto inner = std::make_shared<Scope>(Scope{outer, {}});
  for (size_t i = 0; i < s.exprs.size(); ++i) {
    const Value value = eval(*s.exprs[i]);  // sees the outer scope only
    scope_ = inner;
    assign(*s.targets[i], value);
    scope_ = outer;
  }
  scope_ = inner;
  const Flow flow = exec(s.bodies[0]);
  scope_ = outer;
  return flow;
}

Value Evaluator::make_macro(const Stmt& s, std::string name) {
  captured_.push_back(scope_);
  std::string shown = name.empty() ? "<Macro anonymous>" : "<Macro " + quote(name) + ">";
  return make_callable(heap_, std::move(shown), [this, &s, name, scope = scope_](Arguments& args) {
    return call_macro(s, name, scope, args);
  });
}

void Evaluator::exec_call_block(const Stmt& s) {
  const Value caller = make_macro(s, "");
  print(eval_call(*s.expr, &caller));
}

Value Evaluator::call_macro(const Stmt& s, const std::string& name,
                            const std::shared_ptr<Scope>& scope, Arguments& args) {
  if (call_depth_ >= limits_.max_depth)
    raise("macros call each other more than {} levels deep", limits_.max_depth);
  ++call_depth_;
  const auto saved = std::exchange(scope_, std::make_shared<Scope>(Scope{scope, {}}));
  bind_parameters(s, name, args);
  std::string text;
  const auto out = std::exchange(out_, &text);
  exec(s.bodies[0]);
  out_ = out;
  scope_ = saved;
  --call_depth_;
  return string(std::move(text));
}

void Evaluator::bind_parameters(const Stmt& s, const std::string& name, Arguments& args) {
  const Signature& signature = s.signature;
  const auto take_keyword = [&](const std::string& key) -> std::optional<Value> {
    const auto it = std::find_if(args.keywords.begin(), args.keywords.end(),
                                 [&](const auto& k) { return k.first == key; });
    if (it == args.keywords.end()) return std::nullopt;
    Value v = it->second;
    args.keywords.erase(it);
    return v;
  };
  const size_t count = signature.names.size();
  std::vector<std::optional<Value>> values(count);
  bool explicit_caller = false;
  for (size_t i = 0; i < count; ++i) {
    const std::string& parameter = program_.names[static_cast<size_t>(signature.names[i])];
    explicit_caller |= parameter == "caller";
    values[i] =
        i < args.positional.size() ? std::optional(args.positional[i]) : take_keyword(parameter);
  }
  const auto parameter = [&](NameId id) {
    return id >= 0 &&
           std::find(signature.names.begin(), signature.names.end(), id) != signature.names.end();
  };
  if (s.uses_caller && !explicit_caller) {
    const auto caller = take_keyword("caller");
    scope_->set(caller_name_, caller && !caller->is_none()
                                  ? *caller
                                  : make_undefined(heap_, "no caller is defined"));
  }
  if (s.uses_kwargs && !parameter(kwargs_name_)) {
    DictBuilder kwargs(heap_);
    for (const auto& [key, value] : args.keywords) kwargs.set(string(key), value);
    scope_->set(kwargs_name_, kwargs.take());
  } else if (!args.keywords.empty()) {
    raise("macro '{}' takes no keyword argument '{}'", name, args.keywords[0].first);
  }
  if (s.uses_varargs && !parameter(varargs_name_)) {
    const size_t used = std::min(count, args.positional.size());
    scope_->set(varargs_name_,
                make_tuple(heap_, {args.positional.begin() + static_cast<std::ptrdiff_t>(used),
                                   args.positional.end()}));
  } else if (args.positional.size() > count) {
    raise("macro '{}' takes not more than {} arguments", name, count);
  }
  const size_t first_default = count - signature.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    if (!values[i] && i >= first_default) values[i] = eval(*signature.defaults[i - first_default]);
    if (!values[i])
      values[i] = make_undefined(
          heap_, fmt::format("parameter '{}' was not provided",
                             program_.names[static_cast<size_t>(signature.names[i])]));
    scope_->set(signature.names[i], *values[i]);
  }
}

void Evaluator::check_namespace_targets(const Expr& target) {
  if (target.kind == ExprKind::kNamespaceRef) {
    if (!eval_name(target.name).is(Kind::kNamespace))
      raise("only a namespace's attributes can be assigned");
  }
  if (target.kind == ExprKind::kTuple)
    for (const ExprPtr& child : target.children) check_namespace_targets(*child);
}

void Evaluator::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::kName) return scope_->set(target.name, value);
  if (target.kind == ExprKind::kNamespaceRef)
    return eval_name(target.name).ns().set(target.text, value);
  const std::vector<Value> items = to_vector(heap_, value);
  if (items.size() != target.children.size())
    raise("cannot unpack {} values into {} names", items.size(), target.children.size());
  for (size_t i = 0; i < items.size(); ++i) assign(*target.children[i], items[i]);
}

}  // namespace tokamak::jinja
