// The weights of a program where its device reads them: in place in the engine's mapping, or in one
// piece of device memory, each in the layouts that its steps want. Weights that are stored in
// another layout (of another device, perhaps) are packed anew. Some may stay in host memory, from
// where each step brings them (BoundLaunch::copies).
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "engine/engine_file.h"
#include "runtime/weight_ring.h"

namespace tokamak {

// A layout that this device does not have but the engine may be stored in; null: unknown.
using LayoutLookup = std::function<const WeightLayout*(std::string_view name)>;

class WeightStore {
 public:
  // copy: into device memory also what could be used in place. Error when a weight is stored in a
  // layout that nobody knows, or in a size that it does not have.
  WeightStore(Backend& backend, EngineFile& engine, bool copy, const LayoutLookup& others);

  using Key = std::pair<int32_t, std::string>;  // a weight and the layout that it is wanted in

  // Before load(): a step wants these weights; once for every step, in their order. movable: it
  // reads them from begin to end.
  void want(const std::vector<Key>& weights, bool movable);
  // Before load(): so much of the weights stays on the device, the rest in host memory, as far as
  // steps can bring it.
  void keep_percent(double percent);
  int64_t bytes() const;      // of all that is wanted, in place or on the device, with the ring
  int64_t own_bytes() const;  // of these, in device memory of the store: one allocation
  const WeightRing& ring() const { return ring_; }
  // From the mapped file, or made where the plan says so; several threads.
  void load();
  // After load(): GB/s at which host memory comes to the ring; 0 without one.
  double measure_copy();
  std::span<const std::byte> at(int32_t weight, const std::string& layout) const;
  // What brings it there before a step reads it; nothing for weights that stay.
  std::optional<WeightCopy> copy_of(int32_t weight, const std::string& layout) const;

 private:
  struct Place {
    const std::byte* data = nullptr;
    size_t bytes = 0, offset = 0;
    bool in_place = false;
    int32_t group = -1;         // of groups_
    std::byte* host = nullptr;  // where it lies when it does not stay on the device
  };
  // Weights that steps read together, when they may leave the device.
  struct Group {
    std::vector<Key> weights;
    bool movable = true;
  };
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
  bool is_moved(const Place& p) const {
    return ring_.bytes > 0 && p.group >= 0 && ring_.offsets[p.group] >= 0;
  }
  void group_together(const std::vector<Key>& weights, bool movable);
  size_t place_on_device();
  void place_in_ring(size_t ring_begin);
  // Where the host fills it: host memory, or the device's for Backend::fill().
  std::byte* filled_at(const Place& p) const { return p.host ? p.host : memory_.get() + p.offset; }
  bool on_host(const std::byte* p) const;
  void fill(std::span<const Backend::Piece> pieces,
            const std::function<void(size_t piece, std::byte* to)>& write);
  void copy_stored();
  void make_plain();
  void convert_all();
  void convert(const Batch& batch, std::byte* memory);

  Backend& backend_;
  EngineFile& engine_;
  const bool copy_;
  std::vector<const WeightLayout*> stored_;  // per weight of the plan; null for vectors
  std::map<Key, Place> places_;
  std::vector<Group> groups_;
  WeightRing ring_;
  Backend::Buffer memory_, host_;
  size_t host_bytes_ = 0;
};

}  // namespace tokamak
