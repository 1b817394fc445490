#include "runtime/weight_store.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "engine/random_weights.h"

namespace tokamak {
namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;    // that a thread copies at a time
constexpr size_t kBatchBytes = size_t{512} << 20;  // of host memory, for weights packed together
constexpr size_t kPage = 4096, kAlign = 256;

using Piece = Backend::Piece;

size_t align(size_t n, size_t to) { return (n + to - 1) / to * to; }

// do_one(i) for i in 0 … n-1 on the host's threads, which take what comes next.
void for_each(Backend& backend, size_t n, const std::function<void(size_t)>& do_one) {
  std::atomic<size_t> next{0};
  backend.parallel([&](int, int) {
    for (size_t i = next++; i < n; i = next++) do_one(i);
  });
}

// Parts of [0, n) of `step` each; the last one may be shorter.
std::vector<std::pair<size_t, size_t>> parts(size_t n, size_t step) {
  std::vector<std::pair<size_t, size_t>> out;
  for (size_t at = 0; at < n; at += step) out.emplace_back(at, std::min(n, at + step));
  return out;
}

size_t plain_bytes(const PlanWeight& w) { return TensorView{w.dtype, shape_of(w)}.bytes(); }

}  // namespace

WeightStore::WeightStore(Backend& backend, EngineFile& engine, bool copy,
                         const LayoutLookup& others)
    : backend_(backend), engine_(engine), copy_(copy || generated()) {
  for (const PlanWeight& w : plan().weights) {
    const WeightLayout* layout = w.shape.size() < 2 ? nullptr : backend.layout(w.layout);
    if (!layout && w.shape.size() >= 2 && others) layout = others(w.layout);
    stored_.push_back(layout);
    if (!generated()) check(stored_.size() - 1);
  }
}

void WeightStore::check(size_t i) const {
  const PlanWeight& w = plan().weights[i];
  const WeightLayout* layout = stored_[i];
  const bool vector = w.shape.size() < 2;
  const bool known =
      vector ? w.layout == "plain" : layout && layout->supports(w.dtype, shape_of(w));
  const size_t bytes = !known   ? 0
                       : vector ? plain_bytes(w)
                                : layout->packed_bytes(w.dtype, shape_of(w));
  if (!known || bytes != w.bytes)
    fail(
        "'{}': weight '{}' is stored in layout '{}' with {} bytes, which this program does not "
        "know; build the engine again",
        engine_.path().string(), w.names[0], w.layout, w.bytes);
}

// The plan of an engine without weights may claim any size and layout.
size_t WeightStore::bytes_in(const PlanWeight& w, const std::string& layout) const {
  if (w.shape.size() < 2) return plain_bytes(w);
  const WeightLayout* l = backend_.layout(layout);
  if (!l || !l->supports(w.dtype, shape_of(w)))
    fail("'{}': weight '{}' ({}{}) cannot be stored in layout '{}' here; build the engine again",
         engine_.path().string(), w.names[0], name(w.dtype), shape_of(w).str(), layout);
  return l->packed_bytes(w.dtype, shape_of(w));
}

void WeightStore::want(const std::vector<Key>& weights, bool movable) {
  TOKAMAK_ASSERT(!memory_);
  std::vector<Key> matrices;
  for (const Key& key : weights) {
    const PlanWeight& w = plan().weights.at(key.first);
    if (w.shape.size() >= 2) matrices.push_back(key);
    const auto [it, added] = places_.try_emplace(key);
    if (!added) continue;
    Place& p = it->second;
    p.in_place = !copy_ && key.second == w.layout;
    p.bytes = bytes_in(w, key.second);
  }
  if (!matrices.empty()) group_together(matrices, movable && copy_);
}

// Steps that read the same weights have one group; where they share only some, all of them stay.
void WeightStore::group_together(const std::vector<Key>& weights, bool movable) {
  const int32_t first = places_.at(weights[0]).group;
  const auto same = [&](const Key& k) { return places_.at(k).group == first; };
  if (std::ranges::all_of(weights, same)) {
    if (first >= 0) {
      groups_[first].movable = groups_[first].movable && movable;
      return;
    }
    for (const Key& k : weights) places_.at(k).group = static_cast<int32_t>(groups_.size());
    groups_.push_back({weights, movable});
    return;
  }
  for (const Key& k : weights) {
    if (places_.at(k).group < 0) group_together({k}, false);
    groups_[places_.at(k).group].movable = false;
  }
}

void WeightStore::keep_percent(double percent) {
  TOKAMAK_ASSERT(!memory_);
  std::vector<int64_t> bytes;
  for (const Group& g : groups_) {
    bytes.push_back(0);
    for (const Key& k : g.weights)
      if (g.movable) bytes.back() += static_cast<int64_t>(align(places_.at(k).bytes, kRingAlign));
  }
  int64_t total = 0;
  for (const auto& [key, p] : places_) total += static_cast<int64_t>(p.bytes);
  ring_ = plan_ring(bytes, total, percent);
}

int64_t WeightStore::bytes() const {
  size_t n = 0;
  for (const auto& [key, p] : places_)
    if (!is_moved(p)) n += p.bytes;
  return static_cast<int64_t>(n) + ring_.bytes;
}

int64_t WeightStore::own_bytes() const {
  size_t end = 0;
  for (const auto& [key, p] : places_)
    if (!p.in_place && !is_moved(p))
      end = align(end, p.bytes >= 16 * kPage ? kPage : kAlign) + p.bytes;
  if (ring_.bytes > 0) end = align(end, kRingAlign) + static_cast<size_t>(ring_.bytes);
  return static_cast<int64_t>(end);
}

std::span<const std::byte> WeightStore::at(int32_t weight, const std::string& layout) const {
  const Place& p = places_.at({weight, layout});
  TOKAMAK_ASSERT(p.data != nullptr);
  return {p.data, p.bytes};
}

std::optional<WeightCopy> WeightStore::copy_of(int32_t weight, const std::string& layout) const {
  const Place& p = places_.at({weight, layout});
  if (!p.host) return std::nullopt;
  return WeightCopy{const_cast<std::byte*>(p.data), p.host, p.bytes};
}

// Returns their end.
size_t WeightStore::place_on_device() {
  size_t end = 0;
  for (auto& [key, p] : places_) {
    if (is_moved(p)) continue;
    if (p.in_place) {
      p.data = engine_.weight(static_cast<size_t>(key.first)).data();
      continue;
    }
    p.offset = align(end, p.bytes >= 16 * kPage ? kPage : kAlign);
    p.data = memory_.get() + p.offset;
    end = p.offset + p.bytes;
  }
  return end;
}

void WeightStore::place_in_ring(size_t ring_begin) {
  size_t host = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (ring_.bytes == 0 || ring_.offsets[g] < 0) continue;
    size_t at = ring_begin + static_cast<size_t>(ring_.offsets[g]);
    for (const Key& k : groups_[g].weights) {
      Place& p = places_.at(k);
      p.data = memory_.get() + at;
      p.host = host_.get() + host;
      at += align(p.bytes, kRingAlign);
      host += align(p.bytes, kRingAlign);
    }
  }
}

void WeightStore::load() {
  const auto own = static_cast<size_t>(own_bytes());
  if (own > 0) memory_ = backend_.allocate(own);
  host_bytes_ = static_cast<size_t>(ring_.moved);
  if (host_bytes_ > 0) {
    try {
      host_ = backend_.allocate_shared(host_bytes_);
    } catch (const Error& e) {
      fail(
          "no {:.1f} GB of host memory for the weights that --gpu_weights_percent leaves there: {}",
          static_cast<double>(host_bytes_) / 1e9, e.what());
    }
  }
  place_in_ring(align(place_on_device(), kRingAlign));
  if (generated())
    make_plain();
  else
    copy_stored();
  convert_all();
}

double WeightStore::measure_copy() {
  if (ring_.bytes == 0) return 0;
  constexpr size_t kLeast = size_t{256} << 20;  // that are copied altogether
  const auto bytes = static_cast<size_t>(ring_.bytes);
  std::byte* to = memory_.get() + own_bytes() - ring_.bytes;
  size_t copied = 0;
  std::chrono::steady_clock::time_point start;
  for (const size_t most : {bytes, std::max(kLeast, bytes)}) {  // the first time warms up
    backend_.synchronize();
    start = std::chrono::steady_clock::now();
    for (copied = 0; copied < most; copied += bytes) backend_.copy_in_order(to, host_.get(), bytes);
    backend_.synchronize();
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return static_cast<double>(copied) / 1e9 / std::max(time.count(), 1e-9);
}

bool WeightStore::on_host(const std::byte* p) const {
  return host_bytes_ > 0 && p >= host_.get() && p < host_.get() + host_bytes_;
}

// Pieces of host memory are written where they are.
void WeightStore::fill(std::span<const Piece> pieces,
                       const std::function<void(size_t, std::byte*)>& write) {
  std::vector<size_t> here, there;
  std::vector<Piece> device;
  for (size_t i = 0; i < pieces.size(); ++i) {
    (on_host(pieces[i].device) ? here : there).push_back(i);
    if (!on_host(pieces[i].device)) device.push_back(pieces[i]);
  }
  for_each(backend_, here.size(), [&](size_t i) { write(here[i], pieces[here[i]].device); });
  backend_.fill(device, [&](size_t i, std::byte* to) { write(there[i], to); });
}

bool WeightStore::is_plain(const Key& key) const {
  return key.second == "plain" || plan().weights[key.first].shape.size() < 2;
}

// What is wanted as the engine has it.
void WeightStore::copy_stored() {
  std::vector<Piece> pieces;
  std::vector<std::span<const std::byte>> from;
  for (const auto& [key, p] : places_) {
    if (p.in_place || key.second != plan().weights[key.first].layout) continue;
    const auto stored = engine_.weight(static_cast<size_t>(key.first));
    for (const auto& [begin, finish] : parts(stored.size(), kPieceBytes)) {
      pieces.push_back({filled_at(p) + begin, finish - begin});
      from.push_back(stored.subspan(begin, finish - begin));
    }
  }
  fill(pieces, [&](size_t i, std::byte* to) { engine_.file().copy(from[i], to); });
}

// Random weights of layout plain are made where they go.
void WeightStore::make_plain() {
  struct Rows {
    const PlanWeight* weight;
    int64_t begin, end;
  };
  RandomWeights random(plan().random_weights);
  std::vector<Piece> pieces;
  std::vector<Rows> rows;
  for (const auto& [key, p] : places_) {
    if (!is_plain(key)) continue;
    const PlanWeight& w = plan().weights[key.first];
    random.prepare(w);
    const size_t row = RandomWeights::row_bytes(w);
    const size_t step = std::max<size_t>(1, kPieceBytes / std::max<size_t>(row, 1));
    for (const auto& [begin, finish] : parts(static_cast<size_t>(RandomWeights::rows(w)), step)) {
      pieces.push_back({filled_at(p) + begin * row, (finish - begin) * row});
      rows.push_back({&w, static_cast<int64_t>(begin), static_cast<int64_t>(finish)});
    }
  }
  fill(pieces, [&](size_t i, std::byte* to) {
    random.write_rows(*rows[i].weight, rows[i].begin, rows[i].end, to);
  });
}

// The rest, in batches that a little host memory holds; it is used again and again.
void WeightStore::convert_all() {
  std::vector<Batch> batches(1);
  size_t most = 0;
  for (const auto& [key, p] : places_) {
    const PlanWeight& w = plan().weights[key.first];
    if (p.in_place || (generated() ? is_plain(key) : key.second == w.layout)) continue;
    const size_t plain = generated() || w.layout != "plain" ? align(plain_bytes(w), kAlign) : 0;
    const size_t packed = backend_.in_host_memory() || p.host ? 0 : align(p.bytes, kAlign);
    if (batches.back().bytes + plain + packed > kBatchBytes && batches.back().bytes > 0)
      batches.emplace_back();
    Batch& b = batches.back();
    b.weights.emplace_back(&key, &p);
    b.plain.push_back(b.bytes);
    b.packed.push_back(b.bytes + plain);
    b.bytes += plain + packed;
    most = std::max(most, b.bytes);
  }
  const auto memory = std::make_unique_for_overwrite<std::byte[]>(most);
  for (const Batch& b : batches) convert(b, memory.get());
}

void WeightStore::convert(const Batch& batch, std::byte* memory) {
  RandomWeights random(std::max<uint64_t>(plan().random_weights, 1));
  if (generated())
    for (const auto& [key, place] : batch.weights) random.prepare(plan().weights[key->first]);
  std::vector<TensorView> plain(batch.weights.size());
  for_each(backend_, plain.size(), [&](size_t i) {
    const auto index = static_cast<size_t>(batch.weights[i].first->first);
    const PlanWeight& w = plan().weights[index];
    std::byte* to = memory + batch.plain[i];
    plain[i] = {w.dtype, shape_of(w), to};
    if (generated()) return random.write_rows(w, 0, RandomWeights::rows(w), to);
    const auto stored = engine_.weight(index);
    if (w.layout == "plain") {
      plain[i].data = stored.data();
      return;
    }
    stored_[index]->unpack(w.dtype, plain[i].shape, stored.data(), to);
    engine_.file().release(stored);
  });
  std::vector<Piece> pieces;
  std::vector<const std::byte*> from;
  for (size_t i = 0; i < plain.size(); ++i) {
    const auto& [key, place] = batch.weights[i];
    std::byte* device = filled_at(*place);
    std::byte* to = backend_.in_host_memory() || place->host ? device : memory + batch.packed[i];
    pack_rows(backend_, *backend_.layout(key->second), plain[i], to, 0, plain[i].shape[0]);
    if (to == device) continue;
    for (const auto& [begin, end] : parts(place->bytes, kPieceBytes)) {
      pieces.push_back({device + begin, end - begin});
      from.push_back(to + begin);
    }
  }
  fill(pieces, [&](size_t i, std::byte* to) { std::copy_n(from[i], pieces[i].bytes, to); });
}

}  // namespace tokamak
