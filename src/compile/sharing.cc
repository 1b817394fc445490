#include "compile/sharing.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/log.h"
#include "compile/choose.h"

namespace tokamak {
namespace {

constexpr double kSharingCost = 0.01, kMostSharingCost = 0.03;  // of a step's time

// Which of the step's matrix weights this one is.
std::optional<size_t> slot_of(const Plan& plan, const PlanStep& step, int32_t weight) {
  size_t slot = 0;
  for (const int32_t input : step.inputs) {
    const PlanValue& v = plan.values[input];
    if (v.storage != Storage::weight || !is_matrix_weight(v.type)) continue;
    if (v.base == weight) return slot;
    ++slot;
  }
  return std::nullopt;
}

// False where a user has no tactic for the layout.
bool move_users(std::vector<Group>& groups, const std::map<size_t, size_t>& users,
                const std::string& layout, const TuneOptions& options) {
  for (const auto& [i, slot] : users) {
    Group& g = groups[i];
    if (g.layouts[slot] == layout) continue;
    Layouts layouts = g.layouts;
    layouts[slot] = layout;
    std::vector<Candidate> some;
    for (const Candidate& c : g.candidates)
      if (c.layouts == layouts) some.push_back(c);
    if (some.empty()) return false;
    choose(g, some, options);
  }
  return true;
}

// By how much a step becomes slower at most beyond what may be lost, over the buckets of tokens;
// 0 or less: no step loses more.
double excess(const std::vector<Group>& from, const std::vector<Group>& to,
              const TuneOptions& options) {
  double most = -1;
  for (const int32_t tokens : options.token_buckets) {
    double before = 0, more = 0, doubt = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      if (from[i].rows && tokens > options.row_buckets.back()) continue;
      const StepTime old = step_time(from[i], tokens, options);
      before += old.us;
      if (from[i].layouts == to[i].layouts) continue;
      const StepTime now = step_time(to[i], tokens, options);
      more += now.us - old.us;
      doubt += old.doubt_us * old.doubt_us + now.doubt_us * now.doubt_us;
    }
    before = std::max(before, 1e-9);
    const double may = std::clamp(std::sqrt(doubt) / before, kSharingCost, kMostSharingCost);
    most = std::max(most, more / before - may);
  }
  return most;
}

}  // namespace

void share_weights(std::vector<Group>& groups, const Plan& plan, const TuneOptions& options) {
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    std::map<size_t, size_t> users;  // group → its slot for this weight
    std::vector<std::string> wanted;
    for (size_t i = 0; i < groups.size(); ++i)
      for (const size_t step : groups[i].steps)
        if (const auto slot = slot_of(plan, plan.steps[step], static_cast<int32_t>(w))) {
          users.emplace(i, *slot);
          const std::string& layout = groups[i].layouts[*slot];
          if (std::find(wanted.begin(), wanted.end(), layout) == wanted.end())
            wanted.push_back(layout);
        }
    if (wanted.size() < 2) continue;
    std::vector<Group> best;
    double least = 0;
    for (const std::string& layout : wanted) {
      std::vector<Group> changed = groups;
      if (!move_users(changed, users, layout, options)) continue;
      if (const double cost = excess(groups, changed, options); cost <= least) {
        least = cost;
        best = std::move(changed);
      }
    }
    if (!best.empty())
      groups = std::move(best);
    else
      log::info("'{}' is stored twice: {}", plan.weights[w].names[0], fmt::join(wanted, " and "));
  }
}

}  // namespace tokamak
