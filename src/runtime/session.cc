#include "runtime/session.h"

#include <algorithm>
#include <chrono>

#include "base/block_codec.h"
#include "base/log.h"
#include "engine/kv_layout.h"
#include "engine/numerics.h"
#include "engine/plan_check.h"

namespace tokamak {
namespace {

constexpr int64_t kLogitBytes = 64 << 20;                // of one launch, at most
constexpr int64_t kDeviceLogitBytes = int64_t{1} << 30;  // where decoding stays on the device

double now_us() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::micro>(t).count();
}

// Ids that the model can take: rows of the table that the embedding reads.
int64_t embedding_rows(const Plan& plan) {
  int64_t rows = columns(plan.values[plan.logits].type);
  for (const PlanStep& s : plan.steps)
    if (s.op == Op::embedding) rows = plan.values[s.inputs[1]].type.shape[0].size;
  return rows;
}

SessionOptions with_defaults(SessionOptions o, const EngineConfig& config) {
  if (o.lora.max_rank == 0) o.lora.max_rank = config.max_lora_rank;
  if (o.lora.targets.empty()) o.lora.targets = config.lora_target_modules;
  return o;
}

EngineFile open_language_model(const std::filesystem::path& path, const EngineConfig& config,
                               const SessionOptions& options, std::vector<LoraTarget>& targets) {
  EngineFile engine = EngineFile::open(path);
  if (is_network(engine.plan()) || engine.plan().logits < 0)
    fail("'{}' holds a network with inputs of its own, not a language model", path.string());
  if (options.deterministic) set_deterministic(engine.plan());
  if (options.prepare) options.prepare(engine, config);
  if (options.lora.max_rank != 0) targets = add_lora(engine.plan(), options.lora);
  return engine;
}

}  // namespace

Session::Session(const std::filesystem::path& engine_dir, Backend& backend, SessionOptions options)
    : backend_(backend),
      config_(read_engine_config(engine_dir)),
      options_(with_defaults(std::move(options), config_)),
      engine_(open_language_model(engine_path(engine_dir, 0), config_, options_, lora_targets_)),
      program_(backend, engine_,
               !backend.in_host_memory() ||
                   options_.copy_weights.value_or(weight_bytes(engine_.plan()) >= kCopyWeightBytes),
               options_.other_layouts),
      adapters_(backend, lora_targets_, options_.lora),
      kv_(backend, engine_.plan(),
          options_.kv_block_size > 0 ? options_.kv_block_size : kDefaultKvBlockSize),
      scratch_(pool_, kv_.block_size()),
      step_(backend) {
  if (plan().logits < 0)
    fail("'{}' holds a network, not a language model: it has no logits", engine_dir.string());
  note_other_device(engine_dir);
  always_adapted_ = adapters_.enabled() && is_deterministic(plan());
  vocab_ = columns(plan().values[plan().logits].type);
  max_tokens_ =
      options_.max_num_tokens > 0 ? options_.max_num_tokens : config_.limits.max_num_tokens;
  const int64_t logits = backend.sampler() ? kDeviceLogitBytes : kLogitBytes;
  for (size_t i = 0; plan().hidden >= 0 && i < plan().steps.size(); ++i)
    if (plan().steps[i].outputs.at(0) == plan().hidden) hidden_step_ = i;
  max_rows_ = std::clamp<int64_t>(logits / (vocab_ * 4), 1, max_tokens_);
  open_memory();
}

// One notice when the engine was tuned for another machine or ISA level.
void Session::note_other_device(const std::filesystem::path& engine_dir) const {
  if (options_.prepare) return;  // who did that has said so
  const DeviceProperties& here = backend_.properties();
  const int other = program_.reselected_steps();
  const bool as_built = config_.deterministic || !options_.deterministic;
  const bool same = backend_.in_host_memory() || config_.device == here.name;
  if (config_.isa == here.isa && same && (other == 0 || !as_built)) return;
  log::warning(
      "engine '{}' was built for {} ({}), this is {} ({}): {} of {} steps use other "
      "tactics; build it again for full speed",
      engine_dir.string(), config_.device, config_.isa, here.name, here.isa, other,
      plan().steps.size());
}

MemoryNeed Session::memory() const {
  MemoryNeed m;
  m.tokens = max_tokens_;
  m.rows = step_.rows();
  m.kv_tokens = int64_t{kv_.blocks()} * kv_.block_size();
  m.activations = program_.arena_bytes();
  m.workspace = program_.workspace_bytes();
  m.weights = program_.weight_bytes();
  m.ring = program_.weight_ring().bytes;
  m.host_weights = program_.weight_ring().moved;
  m.kv_per_token = kv_bytes_per_token(plan());
  m.kv_dtype = kv_dtype_name(plan().kv_dtype);
  return m;
}

// Buffers only grow; the plan's memory follows the rows of logits.
void Session::size_buffers(int64_t rows, int64_t sequences, int64_t stride) {
  const std::pair table{step_.sequences(), step_.table_stride()};
  const bool moved = step_.resize(max_tokens_, sequences, stride, rows);
  if (moved || table != std::pair{step_.sequences(), step_.table_stride()}) ++memory_version_;
  parts_.reserve(static_cast<size_t>(step_.sequences()));
  done_.resize(static_cast<size_t>(step_.sequences()));
  if (moved)
    program_.plan_memory(max_tokens_, step_.rows(), step_.device_token_ids(),
                         step_.device_positions());
}

BlockTable& Session::table(int32_t sequence) {
  return const_cast<BlockTable&>(std::as_const(*this).table(sequence));
}

const BlockTable& Session::table(int32_t sequence) const {
  if (sequence < 0 || static_cast<size_t>(sequence) >= sequences_.size() || !sequences_[sequence])
    fail("there is no sequence {} in this session", sequence);
  return *sequences_[sequence];
}

int32_t Session::add_sequence() {
  if (free_sequences_.empty()) {
    sequences_.emplace_back();
    free_sequences_.push_back(static_cast<int32_t>(sequences_.size()) - 1);
  }
  const int32_t id = free_sequences_.back();
  free_sequences_.pop_back();
  adapter_of_.resize(sequences_.size());
  adapter_of_[id] = -1;
  sequences_[id].emplace(pool_, kv_.block_size());
  sequences_[id]->reserve(step_.table_stride());
  return id;
}

void Session::remove_sequence(int32_t sequence) {
  table(sequence).clear();
  sequences_[sequence].reset();
  free_sequences_.push_back(sequence);
}

int32_t Session::fork_sequence(int32_t sequence) {
  BlockTable copy = table(sequence).fork();
  const int32_t id = add_sequence();
  *sequences_[id] = std::move(copy);
  adapter_of_[id] = adapter_of_[sequence];
  return id;
}

int32_t Session::length(int32_t sequence) const { return table(sequence).tokens(); }

void Session::truncate(int32_t sequence, int32_t tokens) {
  if (tokens < 0 || tokens > length(sequence))
    fail("sequence {} has {} tokens, it cannot be cut to {}", sequence, length(sequence), tokens);
  table(sequence).truncate(tokens);
}

void Session::set_adapter(int32_t sequence, int32_t adapter) {
  table(sequence);
  if (adapter >= 0) adapters_.check(adapter);
  adapter_of_[sequence] = adapter;
}

void Session::need_blocks(int64_t blocks) {
  const int64_t missing = blocks - pool_.free_blocks();
  if (missing <= 0) return;
  const int64_t size = kv_.block_size(), used = pool_.used_blocks();
  if (pool_.size() > 0 && (options_.kv_tokens > 0 || !backend_.in_host_memory()))
    fail("the KV cache is full: {} of {} tokens are in use and {} more are wanted ({})",
         used * size, pool_.size() * size, blocks * size,
         options_.kv_tokens > 0 ? "--kv_cache_tokens" : "--kv_cache_free_gpu_mem_fraction");
  if (int64_t{pool_.size()} + missing > (int64_t{1} << 30) / size)
    fail("a KV cache of {} tokens is more than this program can address",
         (pool_.size() + missing) * size);
  kv_.grow(static_cast<int32_t>(pool_.size() + missing));
  pool_.grow(kv_.blocks());
  ++memory_version_;
}

void Session::reserve(int64_t tokens, int64_t sequences) {
  const int64_t size = kv_.block_size();
  need_blocks((tokens + size - 1) / size + sequences);
  size_buffers(std::min(sequences, max_rows_), sequences, (tokens + size - 1) / size + 1);
  for (auto& s : sequences_)
    if (s) s->reserve(step_.table_stride());
}

void Session::check_inputs(std::span<const SequenceInput> inputs) const {
  const int64_t ids = embedding_rows(plan());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t length = table(inputs[i].sequence).tokens();
    if (inputs[i].tokens.empty()) fail("sequence {} has no tokens to run", inputs[i].sequence);
    if (length + static_cast<int64_t>(inputs[i].tokens.size()) > (int64_t{1} << 30))
      fail("sequence {} would become longer than {} tokens", inputs[i].sequence, 1 << 30);
    for (const int32_t t : inputs[i].tokens)
      if (t < 0 || t >= ids) fail("token id {} is outside the vocabulary of {}", t, ids);
    for (size_t k = 0; k < i; ++k)
      if (inputs[k].sequence == inputs[i].sequence)
        fail("sequence {} stands twice in one step", inputs[i].sequence);
  }
}

// Every block that the step needs is there before any sequence changes.
void Session::append_kv(std::span<const SequenceInput> inputs) {
  int64_t blocks = 0, longest = 0;
  for (const SequenceInput& in : inputs) {
    const BlockTable& t = table(in.sequence);
    blocks += t.blocks_for(static_cast<int32_t>(in.tokens.size()));
    longest = std::max<int64_t>(longest, t.tokens() + static_cast<int64_t>(in.tokens.size()));
  }
  need_blocks(blocks);
  // Before any sequence changes, for this may fail, too.
  size_buffers(1, static_cast<int64_t>(inputs.size()),
               (longest + kv_.block_size() - 1) / kv_.block_size());
  parts_.clear();
  for (const SequenceInput& in : inputs) {
    BlockTable& t = table(in.sequence);
    const int32_t begin = t.tokens();
    append_kv(t, static_cast<int32_t>(in.tokens.size()));
    parts_.push_back({in.tokens, begin, t.blocks(), in.logits, adapter_of_[in.sequence]});
  }
}

// The blocks are there.
void Session::append_kv(BlockTable& table, int32_t tokens) {
  BlockTable::Copy copy;
  const bool room = table.append(tokens, &copy);
  TOKAMAK_ASSERT(room);
  if (copy.from >= 0) kv_.copy_block({KvCopy::within, copy.from, copy.to});
}

// Fills the step's arrays with as many of the remaining tokens as one launch takes.
Session::Chunk Session::next_chunk(std::span<const StepPart> parts) {
  Chunk c{.adapters = always_adapted_};
  step_.begin();
  step_.query_begin[0] = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const StepPart& in = parts[i];
    const auto left = static_cast<int64_t>(in.tokens.size()) - done_[i];
    if (left == 0) continue;
    int64_t n = std::min<int64_t>(left, max_tokens_ - c.tokens);
    if (in.logits == WantLogits::all) n = std::min<int64_t>(n, max_rows_ - c.rows);
    if (in.logits == WantLogits::last && n == left && c.rows == max_rows_) --n;
    if (n <= 0) break;  // inputs stay in order, so that rows do
    const int32_t position = in.begin + done_[i];
    for (int64_t t = 0; t < n; ++t) {
      step_.token_ids[c.tokens + t] = in.tokens[done_[i] + t];
      step_.positions[c.tokens + t] = position + static_cast<int32_t>(t);
      step_.adapters[c.tokens + t] = adapters_.row(in.adapter);
    }
    c.adapters = c.adapters || in.adapter >= 0;
    const int64_t rows = in.logits == WantLogits::all                 ? n
                         : in.logits == WantLogits::last && n == left ? 1
                                                                      : 0;
    if (c.rows + rows > step_.rows())
      size_buffers(std::min(max_rows_, std::max(c.rows + rows, 2 * step_.rows())), 0, 0);
    for (int64_t r = 0; r < rows; ++r)
      step_.logit_index[c.rows++] = c.tokens + static_cast<int32_t>(n - rows + r);
    std::ranges::copy(in.blocks, step_.block_table + c.sequences * step_.table_stride());
    step_.context_len[c.sequences] = position + static_cast<int32_t>(n);
    c.tokens += static_cast<int32_t>(n);
    step_.query_begin[++c.sequences] = c.tokens;
    done_[i] += static_cast<int32_t>(n);
    if (n < left) break;
  }
  return c;
}

void Session::set_context(const Chunk& chunk) {
  context_.tokens = chunk.tokens;
  context_.sequences = chunk.sequences;
  context_.logit_rows = chunk.rows;
  step_.upload(context_);
  context_.kv = kv_.view();
  const int32_t* adapters = context_.lora.adapters;
  context_.lora = adapters_.view();
  context_.lora.adapters = adapters;
}

void Session::launch(const Chunk& chunk, bool hidden_alone) {
  set_context(chunk);
  auto launches = program_.launches(chunk.tokens, chunk.rows, chunk.adapters);
  if (hidden_alone) {
    size_t count = 0;
    while (count < launches.size() && program_.step_of(count, chunk.adapters) <= hidden_step_)
      ++count;
    launches = launches.first(count);
  }
  if (!profile_) {
    backend_.run(launches, program_.workspace(), context_);
    return;
  }
  times_.assign(launches.size(), 0);
  const double start = now_us();
  backend_.run(launches, program_.workspace(), context_, times_);
  profile_->wall_us += now_us() - start;
  ++profile_->launches;
  int64_t context = 0;
  for (int32_t s = 0; s < chunk.sequences; ++s) context += step_.context_len[s];
  for (auto* v : {&profile_->us, &profile_->bytes, &profile_->flops})
    v->resize(plan().steps.size());
  for (size_t launch = 0; launch < launches.size(); ++launch) {
    const size_t i = program_.step_of(launch, chunk.adapters);
    const OpSignature s = plan().signature(plan().steps[i]);
    const bool by_rows = program_.is_row_step(i);
    const OpCost c = cost(s, by_rows ? chunk.rows : chunk.tokens,
                          s.op == Op::attention ? chunk.sequences : chunk.rows, context);
    profile_->us[i] += times_[launch];
    profile_->bytes[i] += c.bytes;
    profile_->flops[i] += c.flops;
  }
}

void Session::emit_debug(const Chunk& chunk) {
  for (const int32_t id : plan().debug_outputs) {
    const PlanValue& v = plan().values[id];
    int64_t rows = 1;
    for (size_t d = 0; d + 1 < v.type.shape.size(); ++d)
      rows *= v.type.shape[d].resolve(chunk.tokens, chunk.rows);
    const Operand o = program_.operand(id);
    const std::byte* data = o.data;
    std::vector<std::byte> copy;
    if (!backend_.in_host_memory()) {
      copy.resize(bytes_of(v.type.dtype, (rows - 1) * o.row_stride + columns(v.type)));
      backend_.copy_out(copy.data(), o.data, copy.size());
      data = copy.data();
    }
    debug_({v.name, v.type.dtype, rows, columns(v.type), o.row_stride, data});
  }
}

int64_t Session::hidden_size() const {
  return plan().hidden < 0 ? 0 : columns(plan().values[plan().hidden].type);
}

void Session::take_hidden(const Chunk& chunk, HiddenRows& hidden) {
  const Operand o = program_.operand(plan().hidden);
  const DType type = plan().values[plan().hidden].type.dtype;
  hidden.columns = hidden_size();
  std::vector<std::byte> bytes(bytes_of(type, (chunk.rows - 1) * o.row_stride + hidden.columns));
  backend_.copy_out(bytes.data(), o.data, bytes.size());
  const size_t row = bytes_of(type, o.row_stride);
  for (int32_t r = 0; r < chunk.rows; ++r) {
    const size_t at = hidden.data.size();
    hidden.data.resize(at + static_cast<size_t>(hidden.columns));
    dequantize_row(type, bytes.data() + r * row, hidden.data.data() + at, hidden.columns);
  }
}

LogitRows Session::step(std::span<const SequenceInput> inputs) {
  check_inputs(inputs);
  append_kv(inputs);
  return run(parts_);
}

void Session::start_parts(std::span<const StepPart> parts) {
  size_t blocks = 1;
  for (const StepPart& p : parts) blocks = std::max(blocks, p.blocks.size());
  size_buffers(1, static_cast<int64_t>(parts.size()), static_cast<int64_t>(blocks));
  done_.assign(parts.size(), 0);
}

LogitRows Session::enqueue(std::span<const StepPart> parts, const Feed& feed) {
  start_parts(parts);
  const Chunk chunk = next_chunk(parts);
  for (size_t i = 0; i < parts.size(); ++i)
    TOKAMAK_ASSERT(done_[i] == static_cast<int32_t>(parts[i].tokens.size()));
  set_context(chunk);
  if (feed) feed(const_cast<int32_t*>(context_.token_ids));
  backend_.enqueue(program_.launches(chunk.tokens, chunk.rows, chunk.adapters),
                   program_.workspace(), context_);
  return {program_.operand(plan().logits).as<float>(), chunk.rows, vocab_};
}

LogitRows Session::run(std::span<const StepPart> parts, HiddenRows* hidden) {
  TOKAMAK_ASSERT(!hidden || hidden_size() > 0);
  if (hidden) hidden->data.clear();
  const bool hidden_alone = hidden && hidden->alone;
  start_parts(parts);
  int64_t left = 0, wanted = 0;
  for (const StepPart& in : parts) {
    left += static_cast<int64_t>(in.tokens.size());
    if (in.logits == WantLogits::all) wanted += static_cast<int64_t>(in.tokens.size());
    if (in.logits == WantLogits::last) ++wanted;
  }
  LogitRows result{nullptr, 0, vocab_};
  while (left > 0) {
    const Chunk chunk = next_chunk(parts);
    TOKAMAK_ASSERT(chunk.tokens > 0);
    if (launch_hook_) launch_hook_();
    launch(chunk, hidden_alone);
    if (debug_) emit_debug(chunk);
    left -= chunk.tokens;
    if (chunk.rows == 0) continue;
    if (hidden) take_hidden(chunk, *hidden);
    if (hidden_alone) {
      result.rows += chunk.rows;
      continue;
    }
    const auto* rows = program_.operand(plan().logits).as<float>();
    if (chunk.rows == wanted && backend_.in_host_memory()) {
      result.data = rows;
    } else {
      gathered_.resize(std::max(gathered_.size(), static_cast<size_t>(wanted * vocab_)));
      backend_.copy_out(reinterpret_cast<std::byte*>(gathered_.data() + result.rows * vocab_),
                        reinterpret_cast<const std::byte*>(rows),
                        static_cast<size_t>(chunk.rows * vocab_) * 4);
      result.data = gathered_.data();
    }
    result.rows += chunk.rows;
  }
  TOKAMAK_ASSERT(result.rows == wanted);
  return result;
}

}  // namespace tokamak
