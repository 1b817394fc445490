#include "runtime/program.h"

#include <algorithm>
#include <limits>

#include "engine/numerics.h"
#include "engine/plan_check.h"

namespace tokamak {
namespace {

// Ops that read their weights from begin to end; an embedding picks rows.
bool streams(Op op) { return op != Op::embedding; }

// The layouts that a tactic wants for the matrix weights among the inputs; empty strings elsewhere.
std::vector<std::string> layouts_of(const Tactic& tactic, const OpSignature& s) {
  std::vector<std::string> layouts;
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    if (is_matrix_weight(s.inputs[i]))
      layouts.emplace_back(tactic.weight_layout(s, static_cast<int>(i)));
    else
      layouts.emplace_back(s.inputs[i].is_weight ? "plain" : "");
  }
  return layouts;
}

bool backend_packs(const Backend& backend, const OpSignature& s,
                   const std::vector<std::string>& layouts) {
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    if (is_matrix_weight(s.inputs[i]) && !can_store(backend, s.inputs[i], layouts[i])) return false;
  }
  return true;
}

}  // namespace

Program::Program(Backend& backend, EngineFile& engine, bool copy_weights,
                 const LayoutLookup& other_layouts)
    : backend_(backend),
      engine_(engine),
      deterministic_(is_deterministic(engine.plan())),
      weights_(backend, engine, copy_weights, other_layouts) {
  std::vector<CompiledCode> code;
  for (const auto& [key, bytes] : plan().code) code.push_back({key, bytes});
  backend_.add_code(code);
  for (size_t i = 0; i < plan().steps.size(); ++i) bind_step(i);
  list_steps(without_adapters_, Runs::with_adapters);
  list_steps(with_adapters_, Runs::without_adapters);
  has_adapters_ = with_adapters_.steps != without_adapters_.steps;
}

// All steps but those of the other variant.
void Program::list_steps(Variant& v, Runs other) const {
  for (size_t i = 0; i < steps_.size(); ++i)
    if (plan().steps[i].runs != other) v.steps.push_back(i);
  const auto rows = [&](size_t launch) { return steps_[v.steps[launch]].rows; };
  v.first_row_step = v.steps.size();
  while (v.first_row_step > 0 && rows(v.first_row_step - 1)) --v.first_row_step;
  for (size_t i = 0; i < v.first_row_step; ++i)
    if (rows(i)) v.first_row_step = v.steps.size();  // mixed order: nothing can be left out
}

void Program::load_weights() { weights_.load(); }

bool Program::recorded_fits(const PlanStep& step, const OpSignature& signature) const {
  for (const TacticChoice& c : step.choices) {
    const Tactic* t = find_tactic(backend_, step.op, c.tactic);
    if (!t || !t->supports(signature)) return false;
    if (deterministic_ && c.tactic != step.choices[0].tactic) return false;
    const std::vector<std::string> layouts = layouts_of(*t, signature);
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (layouts[i].empty()) continue;
      const PlanValue& v = plan().values[step.inputs[i]];
      if (plan().weights[v.base].layout != layouts[i]) return false;
    }
  }
  return true;
}

// One of the tactics that a step could run with here, by its layouts.
struct Program::Option {
  const Tactic* tactic;
  std::vector<std::string> layouts;
  std::vector<double> us;  // per bucket of the step
};

std::vector<Program::Option> Program::options_of(const PlanStep& step,
                                                 const OpSignature& signature) const {
  std::vector<Option> options;
  for (const Tactic* t : backend_.tactics(step.op)) {
    if (!t->supports(signature)) continue;
    std::vector<std::string> layouts = layouts_of(*t, signature);
    if (!backend_packs(backend_, signature, layouts)) continue;
    options.push_back({t, std::move(layouts), {}});
    for (const TacticChoice& c : step.choices)
      options.back().us.push_back(expected_us(c, *t, signature));
  }
  if (options.empty() && step.op == Op::plugin)
    fail(
        "'{}' needs the op '{}' of the plug-in '{}' (version {} when it was built) on '{}', which "
        "is not there: give --plugin PATH.so",
        engine_.path().string(), step.attrs.get<std::string>("op"),
        step.attrs.get<std::string>("library"), step.attrs.get<std::string>("version"),
        backend_.name());
  if (options.empty())
    fail("'{}': backend '{}' ({}) has no tactic for {} of '{}'", engine_.path().string(),
         backend_.name(), backend_.properties().isa, name(step.op), step.name);
  return options;
}

// Measured when the engine was built; else estimated, at the scale of what was measured.
double Program::expected_us(const TacticChoice& c, const Tactic& tactic,
                            const OpSignature& signature) const {
  if (c.us > 0 && c.tactic == tactic.name()) return c.us;
  for (const auto& [other, us] : c.losers)
    if (other == tactic.name()) return us;
  const double estimate = tactic.estimate_us(signature, c.bucket);
  const Tactic* winner = c.us > 0 ? find_tactic(backend_, signature.op, c.tactic) : nullptr;
  if (!winner) return estimate;
  return estimate * c.us / std::max(winner->estimate_us(signature, c.bucket), 1e-9);
}

// What it has to save in each step that a weight is packed anew, which takes time and memory: a
// tenth of reading it once.
double Program::packing_us(const PlanStep& step, const std::vector<std::string>& layouts) const {
  constexpr double kLeastUs = 5, kBytesPerUs = 20000;
  double us = 0;
  for (size_t i = 0; i < layouts.size(); ++i) {
    if (layouts[i].empty()) continue;
    const PlanWeight& w = plan().weights[plan().values[step.inputs[i]].base];
    if (w.layout != layouts[i]) us += kLeastUs + 0.1 * static_cast<double>(w.bytes) / kBytesPerUs;
  }
  return us;
}

// The layouts with the least expected time over all buckets, those on file preferred; then the best
// tactic of each bucket, or of all of them.
std::vector<TacticChoice> Program::reselect(const PlanStep& step,
                                            const OpSignature& signature) const {
  std::vector<Option> options = options_of(step, signature);
  // Steps beside those that the engine was tuned with take the weights as they are, if they can.
  const auto packs = [&](const Option& o) { return packing_us(step, o.layouts) > 0; };
  if (step.runs == Runs::with_adapters && !std::ranges::all_of(options, packs))
    std::erase_if(options, packs);
  const size_t buckets = step.choices.size();
  const auto fewer = [](size_t b) {
    return [b](const Option* x, const Option* y) { return x->us[b] < y->us[b]; };
  };
  // What is chosen together: tactics of equal layouts, or each tactic alone.
  std::map<std::pair<std::vector<std::string>, size_t>, std::vector<const Option*>> sets;
  std::vector<double> fastest(buckets, std::numeric_limits<double>::max());
  for (size_t i = 0; i < options.size(); ++i) {
    sets[{options[i].layouts, deterministic_ ? i : 0}].push_back(&options[i]);
    for (size_t b = 0; b < buckets; ++b) fastest[b] = std::min(fastest[b], options[i].us[b]);
  }
  const std::vector<const Option*>* chosen = nullptr;
  double chosen_score = std::numeric_limits<double>::max();
  for (const auto& [key, set] : sets) {
    const double packing = packing_us(step, key.first);
    double score = 0;
    for (size_t b = 0; b < buckets; ++b)
      score += bucket_weight(step.choices[b].bucket) *
               ((*std::min_element(set.begin(), set.end(), fewer(b)))->us[b] + packing) /
               std::max(fastest[b], 1e-9);
    if (score < chosen_score) {
      chosen_score = score;
      chosen = &set;
    }
  }
  std::vector<TacticChoice> choices;
  for (size_t b = 0; b < buckets; ++b) {
    const Option& best = **std::min_element(chosen->begin(), chosen->end(), fewer(b));
    choices.push_back({step.choices[b].bucket, std::string(best.tactic->name()), 0, {}});
  }
  return choices;
}

void Program::bind_step(size_t i) {
  const PlanStep& step = plan().steps[i];
  const OpSignature signature = plan().signature(step);
  Step s{tokamak::is_row_step(plan(), step), {}, {}};
  const bool fits = recorded_fits(step, signature);
  if (!fits && step.runs != Runs::with_adapters) ++reselected_;
  const std::vector<TacticChoice> choices = fits ? step.choices : reselect(step, signature);
  for (const TacticChoice& c : choices) {
    const Tactic* tactic = find_tactic(backend_, step.op, c.tactic);
    std::unique_ptr<Kernel>& kernel = kernels_[c.tactic + " " + signature.key()];
    if (!kernel) kernel = tactic->bind(signature);
    s.bound.push_back({c.bucket, tactic, kernel.get()});
  }
  s.layouts = layouts_of(*s.bound[0].tactic, signature);
  std::vector<WeightStore::Key> wanted;
  for (size_t k = 0; k < step.inputs.size(); ++k)
    if (!s.layouts[k].empty())
      wanted.emplace_back(plan().values[step.inputs[k]].base, s.layouts[k]);
  weights_.want(wanted, streams(step.op));
  steps_.push_back(std::move(s));
}

Operand Program::operand(int32_t id) const {
  const PlanValue& v = plan().values[id];
  const auto stride = columns(v.type);
  const auto inputs = [](const int32_t* p) {
    return reinterpret_cast<std::byte*>(const_cast<int32_t*>(p));
  };
  switch (v.storage) {
    case Storage::activation:
      return {arena_.get() + memory_.offsets[id], stride};
    case Storage::token_ids:
      return {inputs(token_ids_), 1};
    case Storage::positions:
      return {inputs(positions_), 1};
    case Storage::input:
      return {const_cast<std::byte*>(inputs_.at(id)), stride};
    case Storage::weight:
      break;
    case Storage::view: {
      Operand base = operand(v.base);
      base.data += bytes_of(v.type.dtype, v.column_begin);
      base.row_stride = row_stride(plan(), id);
      return base;
    }
  }
  TOKAMAK_ASSERT_MSG(false, "value '{}' has no operand", v.name);
}

void Program::set_input(int32_t value, const std::byte* data) {
  TOKAMAK_ASSERT(plan().values.at(value).storage == Storage::input);
  inputs_[value] = data;
}

int64_t Program::workspace_need(int64_t tokens, int64_t rows) const {
  size_t most = 0;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const OpSignature s = plan().signature(plan().steps[i]);
    for (const Bound& b : steps_[i].bound)
      most = std::max(most, b.tactic->workspace_bytes(s, steps_[i].rows ? rows : tokens));
  }
  return static_cast<int64_t>(most);
}

void Program::plan_memory(int64_t tokens, int64_t rows, const int32_t* token_ids,
                          const int32_t* positions) {
  memory_ = tokamak::plan_memory(plan(), tokens, rows);
  token_ids_ = token_ids;
  positions_ = positions;
  if (memory_.bytes > arena_bytes_) {
    arena_.reset();
    arena_ = backend_.allocate(static_cast<size_t>(memory_.bytes));
    arena_bytes_ = memory_.bytes;
  }
  if (const int64_t most = workspace_need(tokens, rows); most > workspace_bytes_) {
    workspace_.reset();
    workspace_ = backend_.allocate(static_cast<size_t>(most));
    workspace_bytes_ = most;
  }
  for (Variant* v : {&without_adapters_, &with_adapters_}) {
    v->launches.clear();
    for (const size_t i : v->steps) v->launches.push_back(bind_launch(i));
    v->current = {-1, -1};
  }
}

BoundLaunch Program::bind_launch(size_t i) const {
  const PlanStep& step = plan().steps[i];
  BoundLaunch launch;
  for (size_t k = 0; k < step.inputs.size(); ++k) {
    const std::string& layout = steps_[i].layouts[k];
    const std::span<const std::byte> weight =
        layout.empty() ? std::span<const std::byte>()
                       : weights_.at(plan().values[step.inputs[k]].base, layout);
    launch.in.push_back(weight.data() ? Operand{const_cast<std::byte*>(weight.data()), 0}
                                      : operand(step.inputs[k]));
    if (!weight.data()) continue;
    if (streams(step.op)) launch.streams.push_back(weight);
    if (const auto copy = weights_.copy_of(plan().values[step.inputs[k]].base, layout))
      launch.copies.push_back(*copy);
  }
  for (const int32_t o : step.outputs) launch.out.push_back(operand(o));
  return launch;
}

const Program::Bound& Program::choice(const Step& step, int64_t tokens, int64_t rows) const {
  const int64_t n = step.rows ? rows : tokens;
  for (const Bound& b : step.bound)
    if (n <= b.bucket) return b;
  return step.bound.back();
}

std::string_view Program::tactic(size_t step, int64_t tokens, int64_t rows) const {
  return choice(steps_.at(step), tokens, rows).tactic->name();
}

std::span<const BoundLaunch> Program::launches(int64_t tokens, int64_t rows, bool adapters) {
  Variant& v = const_cast<Variant&>(variant(adapters));
  if (v.current != std::pair(tokens, rows)) {
    for (size_t i = 0; i < v.steps.size(); ++i)
      v.launches[i].kernel = choice(steps_[v.steps[i]], tokens, rows).kernel;
    v.current = {tokens, rows};
  }
  return std::span(v.launches).first(rows == 0 ? v.first_row_step : v.launches.size());
}

}  // namespace tokamak
