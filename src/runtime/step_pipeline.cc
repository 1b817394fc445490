#include "runtime/step_pipeline.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/device_arrays.h"
#include "runtime/device_choice.h"

namespace tokamak {
namespace {

// A slot's arrays, each of so many numbers: tokens that requests have, zeros (in place of prompts),
// where tokens come from and go to; then the parameters, which plain steps do not need.
enum Array : int64_t { kMade, kZeros, kFrom, kTo, kArrays };

}  // namespace

StepPipeline::~StepPipeline() { drop(); }

int64_t StepPipeline::max_rows() const {
  if (!backend_.sampler() || session_.is_observed()) return 0;
  return session_.max_logit_rows();
}

size_t StepPipeline::slot_bytes() const {
  return static_cast<size_t>(rows_) * (kArrays * sizeof(int32_t) + sizeof(RowSampling));
}

// Buffers only grow; what is under way is waited for first, its tokens are kept.
void StepPipeline::size_slots(int64_t rows, int64_t vocab) {
  if (rows > rows_) {
    backend_.synchronize();
    rows_ = (std::max(rows, 2 * rows_) + 1) / 2 * 2;  // parameters begin at a multiple of 8
    for (Slot& s : slots_) {
      const Backend::Buffer chosen = std::move(s.chosen), latest = std::move(s.latest);
      s.shared = backend_.allocate_shared(slot_bytes());
      s.device = backend_.allocate(slot_bytes());
      s.chosen = backend_.allocate_shared(static_cast<size_t>(rows_) * 4);
      s.latest = backend_.allocate(static_cast<size_t>(rows_) * 4);
      if (s.rows == 0) continue;
      std::copy_n(ints(chosen), s.rows, ints(s.chosen));
      backend_.copy_in(s.latest.get(), latest.get(), static_cast<size_t>(s.rows) * 4);
    }
  }
  const size_t workspace = backend_.sampler()->workspace_bytes(static_cast<int32_t>(rows_), vocab);
  if (workspace <= workspace_bytes_) return;
  backend_.synchronize();
  workspace_ = backend_.allocate(workspace);
  workspace_bytes_ = workspace;
}

LogitRows StepPipeline::start(std::span<const Part> parts) {
  TOKAMAK_ASSERT(under_way_ < 2 && !parts.empty());
  // Every part may be fed.
  size_slots(static_cast<int64_t>(parts.size()), session_.vocab_size());
  Slot &slot = slots_[next_], &before = slots_[1 - next_];
  const auto array = [&](const Backend::Buffer& b, Array a) { return ints(b) + a * rows_; };
  auto* params = reinterpret_cast<RowSampling*>(array(slot.shared, kArrays));
  bool plain = true;
  int32_t tokens = 0, fed = 0;
  slot.rows = 0;
  parts_.clear();
  for (const Part& p : parts) {
    parts_.push_back(p.part);
    tokens += static_cast<int32_t>(p.part.tokens.size());
    if (p.from_row >= 0) {
      array(slot.shared, kFrom)[fed] = p.from_row;
      array(slot.shared, kTo)[fed++] = tokens - 1;
    }
    if (p.part.logits == WantLogits::none) continue;
    TOKAMAK_ASSERT(p.part.logits == WantLogits::last && !needs_history(p.row.sampling));
    plain = plain && is_plain(p.row.sampling);
    params[slot.rows] = p.row.sampling;
    array(slot.shared, kMade)[slot.rows] = p.row.output;
    array(slot.shared, kZeros)[slot.rows] = 0;
    ints(slot.chosen)[slot.rows++] = kNotChosenYet;
  }
  array(slot.shared, kZeros)[0] = 0;
  const auto arrays = static_cast<size_t>(kArrays * rows_) * 4;
  backend_.copy_in_order(
      slot.device.get(), slot.shared.get(),
      plain ? arrays : arrays + static_cast<size_t>(slot.rows) * sizeof(RowSampling));
  DeviceSampler& sampler = *backend_.sampler();
  const LogitRows logits = session_.enqueue(parts_, [&](int32_t* token_ids) {
    sampler.feed(
        {fed, ints(before.latest), array(slot.device, kFrom), array(slot.device, kTo), token_ids});
  });
  DecodeRows d;
  d.logits = logits.data;
  d.rows = slot.rows;
  d.vocab = session_.vocab_size();
  d.params = reinterpret_cast<const RowSampling*>(array(slot.device, kArrays));
  d.history_len = array(slot.device, kMade);
  d.prompt_len = array(slot.device, kZeros);
  d.token_ids = ints(slot.latest);
  d.chosen = ints(slot.chosen);
  if (slot.rows > 0) {
    sampler.choose(d, plain, workspace_.get());
  } else {  // finish() waits for a zero instead
    ints(slot.chosen)[0] = kNotChosenYet;
    const int32_t* zero = array(slot.device, kZeros);
    sampler.feed({1, zero, zero, zero, ints(slot.chosen)});
  }
  next_ = 1 - next_;
  ++under_way_;
  return logits;
}

std::span<const int32_t> StepPipeline::finish() {
  TOKAMAK_ASSERT(under_way_ > 0);
  Slot& slot = slots_[under_way_ == 2 ? next_ : 1 - next_];
  slot.tokens.clear();
  for (int32_t i = 0; i < std::max(slot.rows, 1); ++i)
    slot.tokens.push_back(wait_for_choice(backend_, ints(slot.chosen)[i]));
  slot.tokens.resize(static_cast<size_t>(slot.rows));
  --under_way_;
  return slot.tokens;
}

void StepPipeline::drop() {
  try {
    if (under_way_ > 0) backend_.synchronize();
  } catch (const Error&) {  // told already, or by the next step
  }
  under_way_ = 0;
}

}  // namespace tokamak
