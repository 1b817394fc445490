#include "runtime/decode_loop.h"

#include <algorithm>
#include <bit>

#include "runtime/device_arrays.h"
#include "runtime/device_choice.h"

namespace tokamak {
namespace {

constexpr int64_t kAhead = 3;  // steps started beyond the one whose tokens are read
constexpr size_t kMostRecordings = 256;
constexpr int64_t kWorthSmaller = 16;  // steps left for which a smaller batch is set up

// Recordings are made for contexts up to: 256, then four sizes an octave.
int32_t context_bucket(int32_t context) {
  if (context <= 256) return 256;
  const int32_t grain = static_cast<int32_t>(std::bit_floor(static_cast<uint32_t>(context))) / 4;
  return (context + grain - 1) / grain * grain;
}

}  // namespace

bool DecodeLoop::fits(int64_t rows) const {
  return backend_.sampler() != nullptr && rows <= session_.max_logit_rows() &&
         rows <= session_.max_num_tokens() && !session_.is_observed();
}

// Buffers only grow. Recordings hold their addresses: when any moves, all are made anew.
void DecodeLoop::size_buffers(int64_t rows, int64_t history, int64_t outputs) {
  const bool more_rows = rows > rows_, more_history = more_rows || history > history_stride_,
             more_outputs = more_rows || outputs > chosen_stride_;
  rows_ = std::max(rows, rows_);
  const size_t workspace =
      backend_.sampler()->workspace_bytes(static_cast<int32_t>(rows_), session_.vocab_size());
  const bool more_workspace = workspace > workspace_bytes_;
  if (more_history || more_outputs || more_workspace) steps_.clear();
  if (more_history) {
    history_stride_ = std::max(history, history_stride_ + history_stride_ / 2);
    history_ = backend_.allocate(static_cast<size_t>(rows_ * history_stride_) * 4);
  }
  if (more_outputs) {
    chosen_stride_ = std::max(outputs, chosen_stride_ + chosen_stride_ / 2);
    chosen_ = backend_.allocate_shared(static_cast<size_t>(rows_ * chosen_stride_) * 4);
  }
  if (more_rows) {
    lengths_ = backend_.allocate(static_cast<size_t>(rows_) * 8);
    params_ = backend_.allocate(static_cast<size_t>(rows_) * sizeof(RowSampling));
  }
  if (more_workspace) {
    workspace_ = backend_.allocate(workspace);
    workspace_bytes_ = workspace;
  }
}

void DecodeLoop::fill(std::span<const DecodeRow> rows, const Session::DecodeInputs& inputs) {
  std::vector<int32_t> history(rows.size() * static_cast<size_t>(history_stride_)), lengths;
  std::vector<RowSampling> params;
  plain_ = true;
  adapters_ = inputs.adapters;
  for (size_t i = 0; i < rows.size(); ++i) {
    int32_t* at = history.data() + static_cast<int64_t>(i) * history_stride_;
    std::ranges::copy(rows[i].output, std::ranges::copy(rows[i].prompt, at).out);
    lengths.push_back(static_cast<int32_t>(rows[i].prompt.size() + rows[i].output.size()));
    params.push_back(rows[i].sampling);
    plain_ = plain_ && is_plain(rows[i].sampling);
  }
  for (const DecodeRow& r : rows) lengths.push_back(static_cast<int32_t>(r.prompt.size()));
  upload(backend_, history_, history);
  upload(backend_, lengths_, lengths);
  upload(backend_, params_, params);
  std::fill_n(ints(chosen_), rows_ * chosen_stride_, kNotChosenYet);
  step_.rows = static_cast<int32_t>(rows.size());
  step_.vocab = session_.vocab_size();
  step_.logits = inputs.logits;
  step_.params = reinterpret_cast<const RowSampling*>(params_.get());
  step_.history = ints(history_);
  step_.history_len = ints(lengths_);
  step_.prompt_len = ints(lengths_) + rows.size();
  step_.history_stride = history_stride_;
  step_.token_ids = inputs.token_ids;
  step_.positions = inputs.positions;
  step_.context_len = inputs.context_len;
  step_.chosen = ints(chosen_);
  step_.chosen_stride = chosen_stride_;
}

void DecodeLoop::forget_when_moved() {
  if (session_.memory_version() == memory_version_ && steps_.size() < kMostRecordings) return;
  steps_.clear();
  memory_version_ = session_.memory_version();
}

// The first step of its kind runs directly, which loads its kernels; the second is recorded.
void DecodeLoop::start_step(int32_t longest) {
  const int32_t bucket = context_bucket(longest);
  const auto work = [&] {
    session_.enqueue_decode(bucket);
    backend_.sampler()->choose(step_, plain_, workspace_.get());
  };
  Step& step = steps_[{step_.rows, bucket, plain_, adapters_}];
  if (step.seen == 1) step.recording = backend_.record(work);
  if (step.seen < 2) ++step.seen;
  if (step.recording)
    backend_.replay(*step.recording);
  else
    work();
}

// False when the loop should end.
bool DecodeLoop::read_step(std::span<const DecodeRow> rows, int64_t step, const Take& take) {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (ended_[i]) continue;
    const int64_t output = static_cast<int64_t>(rows[i].output.size()) + step;
    const int32_t token =
        wait_for_choice(backend_, ints(chosen_)[static_cast<int64_t>(i) * chosen_stride_ + output]);
    check_choice(token, output);
    if (take(i, token) && step + 1 < rows[i].max_tokens) continue;
    ended_[i] = true;
    --active_;
  }
  return active_ > 0;
}

void DecodeLoop::run(std::span<const DecodeRow> rows, const Take& take) {
  TOKAMAK_ASSERT(!rows.empty());
  int64_t steps = 0, history = 0, outputs = 0;
  for (const DecodeRow& r : rows) steps = std::max(steps, r.max_tokens);
  std::vector<Session::DecodeStart> starts;
  for (const DecodeRow& r : rows) {
    outputs = std::max(outputs, static_cast<int64_t>(r.output.size()) + steps);
    history = std::max(history, static_cast<int64_t>(r.prompt.size() + r.output.size()) + steps);
    starts.push_back({r.sequence, r.output.back(), r.max_tokens});
  }
  size_buffers(static_cast<int64_t>(rows.size()), history, outputs);
  std::vector<int32_t> before;
  for (const DecodeRow& r : rows) before.push_back(session_.length(r.sequence));
  const int32_t longest = *std::ranges::max_element(before);
  std::vector<int64_t> taken(rows.size());
  // Whatever happens, the device is at rest and the sequences hold what was taken.
  struct Close {
    DecodeLoop& loop;
    std::span<const DecodeRow> rows;
    const std::vector<int32_t>& before;
    const std::vector<int64_t>& taken;
    ~Close() {
      try {
        loop.backend_.synchronize();
      } catch (const Error&) {  // told already, or by the next call
      }
      loop.session_.close_decode();
      for (size_t i = 0; i < rows.size(); ++i) {
        const int32_t length = before[i] + static_cast<int32_t>(taken[i]);
        if (loop.session_.length(rows[i].sequence) > length)
          loop.session_.truncate(rows[i].sequence, length);
      }
    }
  } close{*this, rows, before, taken};
  fill(rows, session_.open_decode(starts, steps));
  forget_when_moved();
  ended_.assign(rows.size(), false);
  active_ = rows.size();
  const auto count = [&](size_t row, int32_t token) {
    ++taken[row];
    return take(row, token);
  };
  for (int64_t started = 0, read = 0; read < steps; ++read) {
    while (started < steps && started <= read + kAhead)
      start_step(longest + static_cast<int32_t>(++started));
    if (!read_step(rows, read, count)) return;
    if (2 * active_ <= rows.size() && steps - read > kWorthSmaller) return;
  }
}

}  // namespace tokamak
