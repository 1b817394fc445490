// Expressions.
#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/loop.h"

namespace tokamak::jinja {

Value Evaluator::eval(const Expr& e) {
  Nest nest(*this);
  heap_.tick();
  line_ = e.line;
  switch (e.kind) {
    case ExprKind::kConst:
      return e.constant;
    case ExprKind::kName:
    case ExprKind::kNamespaceRef:
      return eval_name(e.name);
    case ExprKind::kTuple:
    case ExprKind::kList:
      return eval_items(e);
    case ExprKind::kDict:
      return eval_dict(e);
    case ExprKind::kBinary: {
      const Value left = eval(*e.children[0]);
      const Value right = eval(*e.children[1]);
      return binary(heap_, e.op, left, right);
    }
    case ExprKind::kNegate:
      return negate(eval(*e.children[0]));
    case ExprKind::kPositive:
      return positive(eval(*e.children[0]));
    case ExprKind::kNot:
      return Value::boolean(!truthy(eval(*e.children[0])));
    case ExprKind::kAnd: {
      Value left = eval(*e.children[0]);
      return truthy(left) ? eval(*e.children[1]) : left;
    }
    case ExprKind::kOr: {
      Value left = eval(*e.children[0]);
      return truthy(left) ? left : eval(*e.children[1]);
    }
    case ExprKind::kCompare:
      return eval_compare(e);
    case ExprKind::kConcat:
      return eval_concat(e);
    case ExprKind::kConditional:
      if (truthy(eval(*e.children[0]))) return eval(*e.children[1]);
      if (e.children.size() > 2) return eval(*e.children[2]);
      return make_undefined(heap_, "the inline if was false and has no else");
    case ExprKind::kFilter:
      return eval_filter(e, nullptr);
    case ExprKind::kTest:
      return eval_test(e);
    case ExprKind::kAttribute:
      return get_attribute(heap_, eval(*e.children[0]), e.text);
    case ExprKind::kItem: {
      const Value object = eval(*e.children[0]);
      return get_item(heap_, object, eval(*e.children[1]));
    }
    case ExprKind::kSlice:
      return eval_slice(e);
    case ExprKind::kCall:
      return eval_call(e, nullptr);
  }
  return {};
}

Value Evaluator::eval_name(NameId name) {
  for (const Scope* s = scope_.get(); s; s = s->parent.get())
    if (const Value* v = s->find(name)) return *v;
  if (const Value* v = global(name)) return *v;
  return make_undefined(
      heap_, fmt::format("'{}' is undefined", program_.names[static_cast<size_t>(name)]));
}

const Value* Evaluator::global(NameId name) {
  const auto i = static_cast<size_t>(name);
  if (!global_known_[i]) {
    global_known_[i] = true;
    globals_[i] = import_variable(heap_, variables_, program_.names[i]);
    if (!globals_[i]) globals_[i] = make_global(*this, program_.names[i]);
  }
  return globals_[i] ? &*globals_[i] : nullptr;
}

Value Evaluator::eval_items(const Expr& e) {
  std::vector<Value> items;
  items.reserve(e.children.size());
  for (const ExprPtr& child : e.children) items.push_back(eval(*child));
  return e.kind == ExprKind::kList ? make_list(heap_, std::move(items))
                                   : make_tuple(heap_, std::move(items));
}

Value Evaluator::eval_dict(const Expr& e) {
  DictBuilder dict(heap_);
  for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
    const Value key = eval(*e.children[i]);
    dict.set(key, eval(*e.children[i + 1]));
  }
  return dict.take();
}

Value Evaluator::eval_compare(const Expr& e) {
  Value left = eval(*e.children[0]);
  for (size_t i = 0; i < e.compares.size(); ++i) {
    Value right = eval(*e.children[i + 1]);
    if (!compare(heap_, e.compares[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Evaluator::eval_concat(const Expr& e) {
  std::string out;
  for (const ExprPtr& child : e.children) {
    append_text(heap_, out, eval(*child));
    heap_.check_size(out.size(), 1);
  }
  return string(std::move(out));
}

Arguments Evaluator::eval_args(const CallArgs& call) {
  Arguments args;
  args.positional.reserve(call.positional.size());
  for (const ExprPtr& e : call.positional) args.positional.push_back(eval(*e));
  for (const auto& [name, e] : call.keywords) args.keywords.emplace_back(name, eval(*e));
  if (call.star)
    for (Value& v : to_vector(heap_, eval(*call.star))) args.positional.push_back(std::move(v));
  if (call.double_star) {
    const Value more = eval(*call.double_star);
    if (!more.is(Kind::kDict)) raise("'**' needs a dict, not {}", type_name(more));
    for (const auto& [key, value] : more.dict().entries) {
      if (!key.is_string()) raise("the names of keyword arguments must be strings");
      for (const auto& [name, known] : args.keywords)
        if (name == key.text()) raise("argument '{}' is given twice", name);
      args.keywords.emplace_back(key.text(), value);
    }
  }
  return args;
}

// `block_text`: the operand of the innermost filter of a filter block or set block.
Value Evaluator::eval_filter(const Expr& e, const Value* block_text) {
  Value operand;
  const Expr* inner = e.children[0].get();
  if (!inner) {
    operand = *block_text;
  } else if (block_text) {
    operand = eval_filter(*inner, block_text);
  } else {
    operand = eval(*inner);
  }
  const Filter filter = find_filter(e.text);
  Arguments args = eval_args(*e.args);
  line_ = e.line;
  return filter(*this, operand, args);
}

Value Evaluator::eval_test(const Expr& e) {
  const Value operand = eval(*e.children[0]);
  const Test test = find_test(e.text);
  Arguments args = eval_args(*e.args);
  return Value::boolean(test(*this, operand, args));
}

Value Evaluator::eval_slice(const Expr& e) {
  const Value sequence = eval(*e.children[0]);
  const auto part = [&](size_t i) { return e.children[i] ? eval(*e.children[i]) : Value(); };
  const Value start = part(1), stop = part(2), step = part(3);
  return get_slice(heap_, sequence, start, stop, step);
}

Value Evaluator::eval_call(const Expr& e, const Value* caller) {
  const Expr& target = *e.children[0];
  if (target.kind == ExprKind::kAttribute) {  // a method: no bound object is made
    const Value self = eval(*target.children[0]);
    if (const Method method = find_method(self, target.text)) {
      Arguments args = eval_args(*e.args);
      if (caller) args.keywords.emplace_back("caller", *caller);
      line_ = e.line;
      return method(heap_, self, args);
    }
    const Value callee = get_attribute(heap_, self, target.text);
    Arguments args = eval_args(*e.args);
    if (caller) args.keywords.emplace_back("caller", *caller);
    line_ = e.line;
    return call(callee, args);
  }
  const Value callee = eval(target);
  Arguments args = eval_args(*e.args);
  if (caller) args.keywords.emplace_back("caller", *caller);
  line_ = e.line;
  return call(callee, args);
}

Value Evaluator::call(const Value& callee, Arguments& args) {
  if (callee.is(Kind::kCallable)) return callee.callable().call(args);
  if (callee.is_undefined()) undefined_used(callee);
  if (callee.is(Kind::kLoop)) {
    const auto& loop = callee.loop();
    if (!loop.recurse) raise("'loop' can be called only in a recursive loop");
    if (args.positional.size() != 1 || !args.keywords.empty())
      raise("loop(...) takes one sequence");
    return loop.recurse(args.positional[0]);
  }
  raise("a {} cannot be called", type_name(callee));
}

}  // namespace tokamak::jinja
