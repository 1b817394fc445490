// Global names: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#include <ctime>

#include "text/jinja/evaluator.h"
#include "text/jinja/params.h"

namespace tokamak::jinja {

namespace {

constexpr size_t kMaxRange = 100'000;

Value make_range(Heap& heap, Arguments& args) {
  no_keywords("range", args);
  const Params p(heap, "range", args, {"start", "stop", "step"}, 1);
  const bool one = !p.given(1);
  const int64_t start = one ? 0 : p.integer(0, 0), stop = one ? p.integer(0, 0) : p.integer(1, 0);
  const int64_t step = p.integer(2, 1);
  if (step == 0) raise("range() needs a step that is not 0");
  auto range = std::make_shared<RangeObject>(heap, start, stop, step);
  if (range->size() > kMaxRange) raise("range() of {} items exceeds {}", range->size(), kMaxRange);
  return Value(Kind::kRange, std::move(range));
}

// dict(pairs or mapping, name=value …)
Value make_dict(Heap& heap, Arguments& args) {
  if (args.positional.size() > 1) raise("dict() takes at most one positional argument");
  DictBuilder dict(heap);
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is(Kind::kDict)) {
      for (const auto& [key, value] : source.dict().entries) dict.set(key, value);
    } else {
      for (const Value& item : to_vector(heap, source)) {
        const std::vector<Value> pair = to_vector(heap, item);
        if (pair.size() != 2) raise("dict() needs pairs, found {} values", pair.size());
        dict.set(pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : args.keywords) dict.set(make_string(heap, name), value);
  return dict.take();
}

Value make_namespace(Evaluator& evaluator, Arguments& args) {
  Heap& heap = evaluator.heap();
  const Value attributes = make_dict(heap, args);
  auto ns = std::make_shared<NamespaceObject>(heap);
  for (const auto& [key, value] : attributes.dict().entries)
    if (key.is_string()) ns->set(key.text(), value);
  evaluator.own(ns);
  return Value(Kind::kNamespace, std::move(ns));
}

Value make_cycler(Heap& heap, Arguments& args) {
  no_keywords("cycler", args);
  if (args.positional.empty()) raise("cycler() needs at least one item");
  return Value(Kind::kCycler, std::make_shared<CyclerObject>(heap, args.positional));
}

Value make_joiner(Heap& heap, Arguments& args) {
  const Params p(heap, "joiner", args, {"sep"});
  const Value separator = p.given(0) ? p[0] : make_string(heap, ", ");
  return make_callable(
      heap, "<Joiner object>",
      [separator, &heap, used = false](Arguments&) mutable {
        return std::exchange(used, true) ? separator : make_string(heap, "");
      },
      nesting(separator) + 1);
}

Value raise_exception(Heap& heap, Arguments& args) {
  const Params p(heap, "raise_exception", args, {"message"}, 1);
  throw RaisedByTemplate{to_text(heap, p[0])};
}

Value strftime_now(Evaluator& evaluator, Arguments& args) {
  Heap& heap = evaluator.heap();
  const Params p(heap, "strftime_now", args, {"format"}, 1);
  // A mark at the end tells an empty result from one that does not fit.
  const std::string format = p.text(0, "") + "|";
  const std::time_t seconds = std::chrono::system_clock::to_time_t(evaluator.now());
  std::tm local{};
  localtime_r(&seconds, &local);
  std::string out(256 + format.size() * 8, '\0');
  const size_t n = std::strftime(out.data(), out.size(), format.c_str(), &local);
  if (n == 0) raise("strftime_now: the result of this format is too long");
  out.resize(n - 1);
  return make_string(heap, std::move(out));
}

}  // namespace

std::optional<Value> make_global(Evaluator& evaluator, std::string_view name) {
  Heap& heap = evaluator.heap();
  const auto function = [&](auto f) {
    return make_callable(heap, fmt::format("<function {}>", name), std::move(f));
  };
  if (name == "range") return function([&heap](Arguments& a) { return make_range(heap, a); });
  if (name == "dict") return function([&heap](Arguments& a) { return make_dict(heap, a); });
  if (name == "namespace")
    return function([&evaluator](Arguments& a) { return make_namespace(evaluator, a); });
  if (name == "cycler") return function([&heap](Arguments& a) { return make_cycler(heap, a); });
  if (name == "joiner") return function([&heap](Arguments& a) { return make_joiner(heap, a); });
  if (name == "raise_exception")
    return function([&heap](Arguments& a) { return raise_exception(heap, a); });
  if (name == "strftime_now")
    return function([&evaluator](Arguments& a) { return strftime_now(evaluator, a); });
  return std::nullopt;
}

}  // namespace tokamak::jinja
