#include "runtime/weight_store.h"

#include <algorithm>
#include <atomic>

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

void WeightStore::want(int32_t weight, const std::string& layout) {
  TOKAMAK_ASSERT(!memory_);
  const auto [it, added] = places_.try_emplace({weight, layout});
  if (!added) return;
  const PlanWeight& w = plan().weights.at(weight);
  Place& p = it->second;
  p.in_place = !copy_ && layout == w.layout;
  p.bytes =
      layout == w.layout ? w.bytes : backend_.layout(layout)->packed_bytes(w.dtype, shape_of(w));
}

int64_t WeightStore::bytes() const {
  size_t n = 0;
  for (const auto& [key, p] : places_) n += p.bytes;
  return static_cast<int64_t>(n);
}

int64_t WeightStore::own_bytes() const {
  size_t end = 0;
  for (const auto& [key, p] : places_)
    if (!p.in_place) end = align(end, p.bytes >= 16 * kPage ? kPage : kAlign) + p.bytes;
  return static_cast<int64_t>(end);
}

std::span<const std::byte> WeightStore::at(int32_t weight, const std::string& layout) const {
  const Place& p = places_.at({weight, layout});
  TOKAMAK_ASSERT(p.data != nullptr);
  return {p.data, p.bytes};
}

void WeightStore::load() {
  const auto own = static_cast<size_t>(own_bytes());
  if (own > 0) memory_ = backend_.allocate(own);
  size_t end = 0;
  for (auto& [key, p] : places_) {
    if (p.in_place) {
      p.data = engine_.weight(static_cast<size_t>(key.first)).data();
      continue;
    }
    p.offset = align(end, p.bytes >= 16 * kPage ? kPage : kAlign);
    p.data = memory_.get() + p.offset;
    end = p.offset + p.bytes;
  }
  if (generated())
    make_plain();
  else
    copy_stored();
  convert_all();
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
      pieces.push_back({memory_.get() + p.offset + begin, finish - begin});
      from.push_back(stored.subspan(begin, finish - begin));
    }
  }
  backend_.fill(pieces, [&](size_t i, std::byte* to) { engine_.file().copy(from[i], to); });
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
      pieces.push_back({memory_.get() + p.offset + begin * row, (finish - begin) * row});
      rows.push_back({&w, static_cast<int64_t>(begin), static_cast<int64_t>(finish)});
    }
  }
  backend_.fill(pieces, [&](size_t i, std::byte* to) {
    random.write_rows(*rows[i].weight, rows[i].begin, rows[i].end, to);
  });
}

// The rest, in batches that a little host memory holds.
void WeightStore::convert_all() {
  Conversions batch;
  size_t bytes = 0;
  for (auto& [key, p] : places_) {
    if (p.in_place ||
        (generated() ? is_plain(key) : key.second == plan().weights[key.first].layout))
      continue;
    const size_t more = plain_bytes(plan().weights[key.first]) + p.bytes;
    if (!batch.empty() && bytes + more > kBatchBytes) {
      convert(batch);
      batch.clear();
      bytes = 0;
    }
    batch.emplace_back(&key, &p);
    bytes += more;
  }
  if (!batch.empty()) convert(batch);
}

void WeightStore::convert(const Conversions& batch) {
  struct Job {
    const PlanWeight* weight;
    std::vector<std::byte> buffer, packed;  // packed: where device memory is not the host's
    TensorView plain;
    std::byte* to;
  };
  RandomWeights random(std::max<uint64_t>(plan().random_weights, 1));
  std::vector<Job> jobs(batch.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& [key, place] = batch[i];
    Job& job = jobs[i];
    job.weight = &plan().weights[key->first];
    job.to = memory_.get() + place->offset;
    if (generated()) random.prepare(*job.weight);
  }
  for_each(backend_, jobs.size(), [&](size_t i) {
    Job& job = jobs[i];
    const PlanWeight& w = *job.weight;
    const auto index = static_cast<size_t>(batch[i].first->first);
    if (!backend_.in_host_memory()) {
      job.packed.resize(batch[i].second->bytes);
      job.to = job.packed.data();
    }
    job.plain = {w.dtype, shape_of(w), nullptr};
    if (!generated() && w.layout == "plain") {
      job.plain.data = engine_.weight(index).data();
      return;
    }
    job.buffer.resize(job.plain.bytes());
    job.plain.data = job.buffer.data();
    if (generated()) {
      random.write_rows(w, 0, RandomWeights::rows(w), job.buffer.data());
      return;
    }
    stored_[index]->unpack(w.dtype, job.plain.shape, engine_.weight(index).data(),
                           job.buffer.data());
    engine_.file().release(engine_.weight(index));
  });
  std::vector<Piece> pieces;
  std::vector<const std::byte*> from;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& [key, place] = batch[i];
    Job& job = jobs[i];
    pack_rows(backend_, *backend_.layout(key->second), job.plain, job.to, 0, job.plain.shape[0]);
    job.buffer = {};
    for (const auto& [begin, finish] : parts(job.packed.size(), kPieceBytes)) {
      pieces.push_back({memory_.get() + place->offset + begin, finish - begin});
      from.push_back(job.packed.data() + begin);
    }
  }
  backend_.fill(pieces,
                [&](size_t i, std::byte* to) { std::copy_n(from[i], pieces[i].bytes, to); });
}

}  // namespace tokamak
