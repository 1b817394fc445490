// What a backend has to offer: tactics, asked for by op, and weight layouts, by name.
#pragma once
#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace tokamak {

class TacticRegistry {
 public:
  // Of one op the last added counts as the best.
  void add(std::unique_ptr<Tactic> tactic) {
    by_op_[static_cast<size_t>(tactic->op())].push_back(tactic.get());
    tactics_.push_back(std::move(tactic));
  }
  template <typename T, typename... Args>
  void add(Args&&... args) {
    add(std::make_unique<T>(std::forward<Args>(args)...));
  }
  template <typename T, typename... Args>
  void add_layout(Args&&... args) {
    layouts_.push_back(std::make_unique<T>(std::forward<Args>(args)...));
  }

  std::span<const Tactic* const> tactics(Op op) const { return by_op_[static_cast<size_t>(op)]; }
  std::span<const std::unique_ptr<WeightLayout>> layouts() const { return layouts_; }
  const WeightLayout* layout(std::string_view name) const {  // null: there is none
    for (const auto& l : layouts_)
      if (l->name() == name) return l.get();
    return nullptr;
  }

 private:
  std::vector<std::unique_ptr<Tactic>> tactics_;
  std::array<std::vector<const Tactic*>, kOpCount> by_op_;
  std::vector<std::unique_ptr<WeightLayout>> layouts_;
};

}  // namespace tokamak
