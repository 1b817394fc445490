// The weights of a program where its device reads them: in place in the engine's mapping, or in one
// piece of device memory, each in the layouts that its steps want. Weights that are stored in
// another layout (of another device, perhaps) are packed anew.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "engine/engine_file.h"

namespace tokamak {

// A layout that this device does not have but the engine may be stored in; null: unknown.
using LayoutLookup = std::function<const WeightLayout*(std::string_view name)>;

class WeightStore {
 public:
  // copy: into device memory also what could be used in place. Error when a weight is stored in a
  // layout that nobody knows, or in a size that it does not have.
  WeightStore(Backend& backend, EngineFile& engine, bool copy, const LayoutLookup& others);

  // Before load(): a step wants the weight in this layout.
  void want(int32_t weight, const std::string& layout);
  int64_t bytes() const;      // of all that is wanted
  int64_t own_bytes() const;  // of these, in device memory of the store: one allocation
  // From the mapped file, or made where the plan says so; several threads.
  void load();
  std::span<const std::byte> at(int32_t weight, const std::string& layout) const;

 private:
  struct Place {
    const std::byte* data = nullptr;
    size_t bytes = 0, offset = 0;
    bool in_place = false;
  };
  using Key = std::pair<int32_t, std::string>;
  // Weights that are packed anew together, with the host memory that this takes: plain, then
  // packed.
  struct Batch {
    std::vector<std::pair<const Key*, const Place*>> weights;
    std::vector<size_t> plain, packed;  // where in memory
    size_t bytes = 0;
  };

  bool generated() const { return plan().random_weights != 0; }
  const Plan& plan() const { return std::as_const(engine_).plan(); }
  void check(size_t weight) const;
  size_t bytes_in(const PlanWeight& weight, const std::string& layout) const;
  bool is_plain(const Key& key) const;
  void copy_stored();
  void make_plain();
  void convert_all();
  void convert(const Batch& batch, std::byte* memory);

  Backend& backend_;
  EngineFile& engine_;
  const bool copy_;
  std::vector<const WeightLayout*> stored_;  // per weight of the plan; null for vectors
  std::map<Key, Place> places_;
  Backend::Buffer memory_;
};

}  // namespace tokamak
