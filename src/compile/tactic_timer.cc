#include "compile/tactic_timer.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "backend/staging.h"
#include "backend/step_inputs.h"
#include "base/half.h"
#include "compile/pack.h"
#include "engine/kv_layout.h"
#include "engine/plan_check.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

// Copies of the weights together: no cache holds them.
constexpr size_t kColdBytes = 48u << 20, kColdDeviceBytes = 160u << 20;
constexpr int kMaxCopies = 512;
constexpr int32_t kMaxDecodeBatch = 16;  // up to here a bucket is timed as decoding sequences
// A round of one candidate: pieces of so many µs, of which the best counts. They are short, so that
// one of them fits between two moments at which the system runs something else on a worker's core.
constexpr double kPieceUs = 250;
constexpr int kPieces = 4, kMostPieces = 12;  // more than kPieces while all were interrupted
constexpr double kMostLapUs = 20000;
constexpr int kMaxRepeats = 64;  // launches of a piece
// A recorded piece is longer: its start and the wait for its end count, too.
constexpr double kRecordedPieceUs = 1000;
constexpr double kHopeless = 8;  // slower than this at the first launches: not timed further
constexpr int kFirstLaunches = 6;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// How often the system took a core away from this process's threads.
int64_t preemptions() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

int64_t elements(const ValueType& type, int64_t tokens) {
  int64_t n = 1;
  for (const Dim& d : type.shape) n *= d.resolve(tokens, tokens);
  return n;
}

// Small values of both signs, the same every time, in rows of `columns`; quantized rows are zero.
void fill(std::byte* data, DType dtype, int64_t rows, int64_t columns) {
  if (!is_float(dtype)) {
    std::memset(data, 0, row_bytes(dtype, columns) * static_cast<size_t>(rows));
    return;
  }
  constexpr int64_t kPeriod = 65521;  // a prime: no two rows are alike
  const int64_t n = rows * columns, fresh = std::min(n, kPeriod);
  uint32_t state = 0x2545f491u;
  for (int64_t i = 0; i < fresh; ++i) {
    state = state * 1664525u + 1013904223u;
    const float v = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
    if (dtype == DType::f32)
      reinterpret_cast<float*>(data)[i] = v;
    else if (dtype == DType::f16)
      reinterpret_cast<uint16_t*>(data)[i] = f32_to_f16(v);
    else
      reinterpret_cast<uint16_t*>(data)[i] = f32_to_bf16(v);
  }
  const size_t period = bytes_of(dtype, kPeriod), all = bytes_of(dtype, n);
  for (size_t at = period; at < all; at += period)
    std::memcpy(data + at, data, std::min(period, all - at));
}

}  // namespace

// One weight in one layout, in several copies.
struct TacticTimer::Packed {
  Backend::Buffer buffer;
  size_t bytes = 0, stride = 0;
  int copies = 1;
  std::byte* copy(int i) const { return buffer.get() + static_cast<size_t>(i % copies) * stride; }
};

// Everything that a launch of this signature reads for one bucket.
struct TacticTimer::Step {
  explicit Step(Backend& backend) : arrays(backend) {}
  StepContext context;
  StepInputs arrays;
  KvLayerView layer;
  Backend::Buffer kv, arena;
  std::vector<std::byte*> inputs, outputs;  // null for weights
};

struct TacticTimer::Run {
  const Tactic* tactic = nullptr;
  std::unique_ptr<Kernel> kernel;
  std::vector<BoundLaunch> launches;
  Backend::Buffer workspace;
  size_t repeats = 1;  // launches of a piece
  // The piece, where the backend records: launches follow one another as they do in a step.
  std::unique_ptr<Recording> recording;
};

TacticTimer::TacticTimer(Backend& backend, WeightSource& source, const OpSignature& signature,
                         std::vector<const PlanWeight*> weights, const TimerOptions& options)
    : backend_(backend),
      source_(source),
      signature_(signature),
      weights_(std::move(weights)),
      options_(options) {}

TacticTimer::~TacticTimer() = default;

// Of each weight, in each layout. An embedding reads a few rows only.
int TacticTimer::copies() const {
  if (signature_.op == Op::embedding) return 1;
  size_t all = 0;
  for (const PlanWeight* w : weights_) all += packed_weight_bytes(backend_, *w);
  all = std::max<size_t>(all, 1);
  const size_t copies =
      backend_.in_host_memory() ? kColdBytes / all : (kColdDeviceBytes + all - 1) / all;
  return static_cast<int>(std::clamp<size_t>(copies, 1, kMaxCopies));
}

const TacticTimer::Packed& TacticTimer::packed(size_t weight, const std::string& layout) {
  std::unique_ptr<Packed>& slot = packed_[{weight, layout}];
  if (slot) return *slot;
  slot = std::make_unique<Packed>();
  PlanWeight w = *weights_[weight];
  w.layout = layout;
  const size_t bytes = slot->bytes = packed_weight_bytes(backend_, w);
  slot->stride = (bytes + 63) / 64 * 64;
  slot->copies = copies();
  slot->buffer = backend_.allocate(slot->stride * static_cast<size_t>(slot->copies));
  Staging first(backend_, slot->copy(0), bytes);
  pack_weight(backend_, source_, w, first.span(), {});
  first.commit();
  for (int i = 1; i < slot->copies; ++i) backend_.copy_in(slot->copy(i), slot->copy(0), bytes);
  return *slot;
}

std::unique_ptr<TacticTimer::Step> TacticTimer::make_step(int32_t tokens) {
  auto s = std::make_unique<Step>(backend_);
  const bool decode = tokens <= kMaxDecodeBatch;
  const int32_t sequences = decode ? tokens : 1;
  const auto length = decode ? static_cast<int32_t>(options_.context) : tokens;
  const int32_t block_size = kDefaultKvBlockSize;
  const int32_t blocks = (length + block_size - 1) / block_size;
  const int64_t ids = signature_.op == Op::embedding ? signature_.inputs[1].shape[0].size : 1;
  StepInputs& arrays = s->arrays;
  arrays.resize(tokens, sequences, blocks, tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    arrays.token_ids[t] = static_cast<int32_t>((t + 1) * 7919 % ids);  // rows far apart
    arrays.positions[t] = decode ? length - 1 : static_cast<int32_t>(t);
    arrays.logit_index[t] = static_cast<int32_t>(t);
  }
  for (int32_t q = 0; q <= sequences; ++q) arrays.query_begin[q] = decode ? q : q * tokens;
  std::fill_n(arrays.context_len, sequences, length);
  std::iota(arrays.block_table, arrays.block_table + int64_t{sequences} * blocks, 0);

  StepContext& c = s->context;
  c.tokens = tokens;
  c.sequences = sequences;
  c.logit_rows = tokens;
  arrays.upload(c);
  if (signature_.op == Op::attention) make_cache(*s, blocks * sequences);
  make_operands(*s);
  return s;
}

void TacticTimer::make_cache(Step& step, int32_t blocks) {
  const AttentionAttrs a = AttentionAttrs::from(signature_.attrs);
  const size_t bytes =
      kv_block_bytes(options_.kv_dtype, a.kv_heads, a.head_dim, kDefaultKvBlockSize) *
      static_cast<size_t>(blocks);
  step.kv = backend_.allocate(2 * bytes);
  Staging cache(backend_, step.kv.get(), 2 * bytes);
  fill(cache.data(), options_.kv_dtype,
       2 * static_cast<int64_t>(bytes / row_bytes(options_.kv_dtype, a.head_dim)), a.head_dim);
  cache.commit();
  step.layer = {step.kv.get(), step.kv.get() + bytes};
  step.context.kv = {options_.kv_dtype, kDefaultKvBlockSize, {&step.layer, 1}};
}

// Activations, one after another in memory of their own.
void TacticTimer::make_operands(Step& step) {
  const int32_t tokens = step.context.tokens;
  size_t total = 0;
  const auto place = [&](const ValueType& type) {
    const size_t at = total;
    total += (bytes_of(type.dtype, elements(type, tokens)) + 63) / 64 * 64;
    return at;
  };
  std::vector<size_t> in, out;
  for (const ValueType& t : signature_.inputs) in.push_back(t.is_weight ? 0 : place(t));
  for (const ValueType& t : signature_.outputs) out.push_back(place(t));
  step.arena = backend_.allocate(total);
  Staging arena(backend_, step.arena.get(), total);
  for (size_t i = 0; i < in.size(); ++i) {
    const ValueType& t = signature_.inputs[i];
    step.inputs.push_back(t.is_weight ? nullptr : step.arena.get() + in[i]);
    if (t.is_weight) continue;
    if (t.dtype == DType::i32)  // ids of the embedding, positions of rope and attention
      std::memcpy(arena.data() + in[i],
                  signature_.op == Op::embedding ? step.arrays.token_ids : step.arrays.positions,
                  static_cast<size_t>(tokens) * 4);
    else
      fill(arena.data() + in[i], t.dtype, elements(t, tokens), 1);
  }
  arena.commit();
  for (const size_t at : out) step.outputs.push_back(step.arena.get() + at);
}

TacticTimer::Run TacticTimer::prepare(const Tactic& tactic, const Step& step) {
  Run run;
  run.tactic = &tactic;
  run.kernel = tactic.bind(signature_);
  run.workspace = backend_.allocate(tactic.workspace_bytes(signature_, step.context.tokens));
  for (int i = 0; i < std::max(kMaxRepeats, copies()); ++i) {
    BoundLaunch launch{run.kernel.get(), {}, {}};
    size_t weight = 0;
    for (size_t k = 0; k < signature_.inputs.size(); ++k) {
      const ValueType& t = signature_.inputs[k];
      Operand o{step.inputs[k], columns(t)};
      if (t.is_weight) {
        const std::string layout(t.shape.size() < 2 ? "plain"
                                                    : tactic.weight_layout(signature_, int(k)));
        const Packed& p = packed(weight++, layout);
        o.data = p.copy(i);
        if (signature_.op != Op::embedding) launch.streams.push_back({o.data, p.bytes});
      }
      launch.in.push_back(o);
    }
    for (size_t k = 0; k < signature_.outputs.size(); ++k)
      launch.out.push_back({step.outputs[k], columns(signature_.outputs[k])});
    run.launches.push_back(std::move(launch));
  }
  return run;
}

namespace {

// Warms up, and shows the hopeless: the best of two launches, of more where those were slow.
std::vector<double> first_times(size_t n, const std::function<double(size_t)>& launch) {
  std::vector<double> us;
  for (size_t i = 0; i < n; ++i) {
    const double cold = launch(i);
    us.push_back(std::min(cold, launch(i)));
  }
  for (int more = 2; more < kFirstLaunches; ++more) {
    const double least = *std::min_element(us.begin(), us.end());
    for (size_t i = 0; i < n; ++i)
      if (us[i] > kHopeless * least) us[i] = std::min(us[i], launch(i));
  }
  return us;
}

}  // namespace

// Its first launches have been run, so that its kernels are loaded. All weights have their turn.
void TacticTimer::record(Run& run, const StepContext& context, double us) {
  const auto copies = static_cast<double>(std::min(this->copies(), kMaxRepeats));
  const auto repeats = static_cast<size_t>(
      std::clamp(kRecordedPieceUs / std::max(us, 1.0), copies, double{kMaxRepeats}));
  run.recording = backend_.record([&] {
    backend_.enqueue(std::span(run.launches).first(repeats), run.workspace.get(), context);
  });
  if (!run.recording) return;
  run.repeats = repeats;
  backend_.replay(*run.recording);
  backend_.synchronize();
}

BucketTimes TacticTimer::time(const std::vector<const Tactic*>& candidates, int32_t tokens) {
  const std::unique_ptr<Step> step = make_step(tokens);
  std::vector<Run> runs;
  for (const Tactic* t : candidates) runs.push_back(prepare(*t, *step));

  // The list as a whole: a worker that wakes late would make one launch of it look free.
  size_t next = 0;  // copy of the weights that was not read for longest, whoever did
  const auto piece = [&](size_t i) {
    Run& run = runs[i];
    if (run.recording) {
      const auto start = Clock::now();
      backend_.replay(*run.recording);
      backend_.synchronize();
      return seconds_since(start) * 1e6 / static_cast<double>(run.repeats);
    }
    if (next + run.repeats > run.launches.size()) next = 0;
    const auto launches = std::span(run.launches).subspan(next, run.repeats);
    next += run.repeats;
    const auto start = Clock::now();
    backend_.run(launches, run.workspace.get(), step->context);
    return seconds_since(start) * 1e6 / static_cast<double>(run.repeats);
  };
  std::vector<double> first = first_times(runs.size(), piece);
  const double least = *std::min_element(first.begin(), first.end());
  std::vector<size_t> racers;
  for (size_t i = 0; i < runs.size(); ++i) {
    const double repeats = kPieceUs / std::max(first[i], 1.0);
    runs[i].repeats = static_cast<size_t>(std::clamp(repeats, 1.0, double{kMaxRepeats}));
    if (first[i] <= kHopeless * least) racers.push_back(i);
  }
  for (const size_t i : racers) record(runs[i], step->context, first[i]);
  const auto measure = [&](size_t racer) {
    const auto start = Clock::now();
    double best = std::numeric_limits<double>::max();
    bool whole = false;  // some piece ran undisturbed
    for (int p = 0; p < kMostPieces; ++p) {
      const int64_t before = preemptions();
      best = std::min(best, piece(racers[racer]));
      whole = whole || preemptions() == before;
      const double us = seconds_since(start) * 1e6;
      if (us > kMostLapUs || (whole && (p + 1 >= kPieces || us > kPieces * kPieceUs))) break;
    }
    return best;
  };
  const auto start = Clock::now();
  const RaceResult result = race(
      racers.size(), measure, [&] { return seconds_since(start); }, options_.race);
  for (size_t i = 0; i < racers.size(); ++i) first[racers[i]] = result.us[i];
  BucketTimes times;
  times.noise = std::round(result.noise * 1e4) / 1e4;
  for (size_t i = 0; i < runs.size(); ++i)
    times.us[std::string(runs[i].tactic->name())] = std::round(first[i] * 100) / 100;
  return times;
}

}  // namespace tokamak
