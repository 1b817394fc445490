// An engine that is open on a device: sequences with their KV blocks, and one step function for
// prompts, chunks of prompts and decoding alike. Packed tokens: nothing is padded.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/step_inputs.h"
#include "engine/engine_config.h"
#include "engine/engine_file.h"
#include "engine/lora_plan.h"
#include "engine/memory_plan.h"
#include "runtime/kv/block_table.h"
#include "runtime/kv/kv_cache.h"
#include "runtime/lora_store.h"
#include "runtime/program.h"

namespace tokamak {

// Below this the mapping decodes as fast as a copy does.
inline constexpr int64_t kCopyWeightBytes = int64_t{256} << 20;

struct SessionOptions {
  int64_t max_num_tokens = 0;  // tokens of one launch of the plan; 0: as the engine was built
  // Fixed room in the KV cache; 0: grows with what is asked for, on devices with memory of their
  // own all of it at once: this part of what weights and activations leave.
  int64_t kv_tokens = 0;
  double kv_memory_fraction = 0.9;
  // Of the weights, that stays on a device with memory of its own; the rest comes from host memory
  // in every step. Empty: as much as fits beside the KV cache (kv_tokens, or one sequence of full
  // length).
  std::optional<double> weights_percent = 100;
  int32_t kv_block_size = 0;  // 0: the default of engine/kv_layout.h
  // Into memory of our own, in huge pages, instead of the engine's mapping: a slower start, faster
  // decoding. Empty: from kCopyWeightBytes on.
  std::optional<bool> copy_weights = {};
  // A token's logits do not depend on other sequences, chunks or workers, bit for bit. Engines that
  // were not built so get other tactics where theirs cannot.
  bool deterministic = false;
  LoraOptions lora = {};            // max_rank 0: as the engine was built
  LayoutLookup other_layouts = {};  // of devices that the engine may have been built for
  // Called with the engine before its tactics are bound: may write other choices into the plan.
  std::function<void(EngineFile&, const EngineConfig&)> prepare = {};
  // Called with what will be allocated, before it is (devices with memory of their own).
  std::function<void(const MemoryNeed&)> on_memory_plan = {};
};

enum class WantLogits : uint8_t { none, last, all };

struct SequenceInput {
  int32_t sequence = -1;
  std::span<const int32_t> tokens;  // at least one
  WantLogits logits = WantLogits::last;
};

// The same for callers that keep the books of blocks themselves (runtime/scheduler): tokens
// begin … of a sequence whose KV lies in `blocks`, with room for them.
struct StepPart {
  std::span<const int32_t> tokens;
  int32_t begin = 0;
  std::span<const int32_t> blocks;
  WantLogits logits = WantLogits::last;
  int32_t adapter = -1;  // of the session's; -1: none
};

// Rows in the order of the inputs; valid until the next step.
struct LogitRows {
  const float* data = nullptr;
  int64_t rows = 0, vocab = 0;
  std::span<const float> row(int64_t i) const { return {data + i * vocab, size_t(vocab)}; }
};

// The states that rows of logits come from: after the model's last norm.
struct HiddenRows {
  std::vector<float> data;  // [rows][columns], in the order of the logits
  int64_t columns = 0;
  bool alone = false;  // given: logits are not computed
};

// A debug output of the tokens that one launch of the plan worked on.
struct DebugTensor {
  std::string name;
  DType dtype;
  int64_t rows, columns, row_stride;  // stride in elements
  const std::byte* data;
};

class Session {
 public:
  // Throws Error when the directory is no engine, or is damaged.
  Session(const std::filesystem::path& engine_dir, Backend& backend, SessionOptions options = {});

  const EngineConfig& config() const { return config_; }
  const Plan& plan() const { return engine_.plan(); }
  const Program& program() const { return program_; }
  Backend& backend() { return backend_; }
  int64_t vocab_size() const { return vocab_; }
  int64_t max_num_tokens() const { return max_tokens_; }
  // Rows of logits that one launch computes at most; larger wishes are split.
  int64_t max_logit_rows() const { return max_rows_; }
  MemoryNeed memory() const;  // as it is now
  // What each step brings from host memory: bytes, at so many GB/s.
  struct WeightTraffic {
    int64_t bytes = 0;
    double gb_s = 0;
    std::string line() const;
  };
  const WeightTraffic& weight_traffic() const { return weight_traffic_; }
  int32_t used_kv_blocks() const { return pool_.used_blocks(); }
  void verify_weights() const { engine_.verify_weights(); }  // Error when a byte has changed

  int32_t add_sequence();
  void remove_sequence(int32_t sequence);
  // A new sequence that shares the KV blocks of another; they part at the next token.
  int32_t fork_sequence(int32_t sequence);
  int32_t length(int32_t sequence) const;
  void truncate(int32_t sequence, int32_t tokens);
  // LoRA adapters (max_lora_rank), and which one a sequence's tokens take from now on; -1: none.
  LoraStore& adapters() { return adapters_; }
  void set_adapter(int32_t sequence, int32_t adapter);

  // Room for so many more tokens over so many sequences, ahead of time: steps within it allocate
  // nothing. Error when the memory is not there.
  void reserve(int64_t tokens, int64_t sequences);

  // Appends the tokens to their sequences and returns the logits that are wanted. Errors (unknown
  // sequence, token outside the vocabulary, KV cache full) leave every sequence as it was.
  LogitRows step(std::span<const SequenceInput> inputs);
  LogitRows run(std::span<const StepPart> parts, HiddenRows* hidden = nullptr);
  // Enqueues a step that one launch can do and leaves its logits where the device has them. At most
  // one earlier step may still be under way. `feed` may enqueue changes of the tokens' ids first.
  using Feed = std::function<void(int32_t* token_ids)>;
  LogitRows enqueue(std::span<const StepPart> parts, const Feed& feed = {});
  // The blocks of this session's KV cache, and content from one to another.
  BlockPool& kv_pool() { return pool_; }
  int32_t kv_block_size() const { return kv_.block_size(); }
  void copy_kv_block(const KvCopy& copy) { kv_.copy_block(copy); }
  // Blocks of host memory beside it, as many as so many bytes hold: returns how many.
  int32_t reserve_host_kv(int64_t bytes) { return kv_.reserve_host(bytes); }

  // Decoding that the device drives (runtime/decode_loop.h): the inputs of its steps, which it
  // changes from step to step, and their logits.
  struct DecodeStart {
    int32_t sequence = -1;
    int32_t next = 0;  // the token that the first step takes
    int64_t kept = 0;  // tokens that the sequence grows by; what steps write beyond is lost
  };
  struct DecodeInputs {
    int32_t *token_ids, *positions, *context_len;
    const float* logits;
    bool adapters;  // the steps are those that apply them
  };
  DecodeInputs open_decode(std::span<const DecodeStart> rows, int64_t steps);
  // Enqueues one step; no sequence may be longer than max_context after it.
  void enqueue_decode(int32_t max_context);
  void close_decode();
  // Columns of hidden states; 0: the engine does not keep them.
  int64_t hidden_size() const;
  // Changes whenever memory that an enqueued step depends on has moved or was laid out anew.
  uint64_t memory_version() const { return memory_version_; }
  // Whether somebody wants to see each launch.
  bool is_observed() const { return debug_ || launch_hook_ || profile_; }

  // Called after each launch of the plan with every debug output.
  void set_debug_sink(std::function<void(const DebugTensor&)> sink) { debug_ = std::move(sink); }
  // Called before each launch of the plan.
  void set_launch_hook(std::function<void()> hook) { launch_hook_ = std::move(hook); }
  // Microseconds of each step of the plan, added up over launches, while set.
  struct Profile {
    std::vector<double> us;            // per plan step
    std::vector<double> bytes, flops;  // per plan step, from cost()
    double wall_us = 0;                // of the launches, as the caller sees them
    int64_t launches = 0;
  };
  void set_profile(Profile* profile) { profile_ = profile; }

 private:
  struct Chunk {
    int32_t tokens = 0, rows = 0, sequences = 0;
    bool adapters = false;
  };
  void open_memory();
  MemoryNeed plan_device_memory(int64_t rows, size_t free_bytes) const;
  MemoryNeed place_weights(int64_t rows, size_t free_bytes);
  void note_other_device(const std::filesystem::path& engine_dir) const;
  void check_inputs(std::span<const SequenceInput> inputs) const;
  void append_kv(std::span<const SequenceInput> inputs);
  void append_kv(BlockTable& table, int32_t tokens);
  void need_blocks(int64_t blocks);
  void size_buffers(int64_t rows, int64_t sequences, int64_t stride);
  Chunk next_chunk(std::span<const StepPart> parts);
  void start_parts(std::span<const StepPart> parts);
  void set_context(const Chunk& chunk);
  void launch(const Chunk& chunk, bool hidden_alone);
  void take_hidden(const Chunk& chunk, HiddenRows& hidden);
  void emit_debug(const Chunk& chunk);
  BlockTable& table(int32_t sequence);
  const BlockTable& table(int32_t sequence) const;

  Backend& backend_;
  EngineConfig config_;
  SessionOptions options_;
  std::vector<LoraTarget> lora_targets_;
  EngineFile engine_;
  Program program_;
  LoraStore adapters_;
  KvCache kv_;
  BlockPool pool_;
  BlockTable scratch_;  // what decoding steps write for sequences that have ended
  std::vector<std::optional<BlockTable>> sequences_;
  std::vector<int32_t> adapter_of_;  // per sequence
  std::vector<int32_t> free_sequences_;
  // Steps with adapters round differently: what others in a step use must not matter.
  bool always_adapted_ = false;
  int64_t vocab_ = 0, max_tokens_ = 0, max_rows_ = 0;
  WeightTraffic weight_traffic_;
  size_t hidden_step_ = 0;  // that makes the hidden states, where the plan keeps them
  uint64_t memory_version_ = 0;

  // The step's inputs (StepContext points here) and progress.
  StepInputs step_;
  bool decodes_adapters_ = false;  // of open_decode
  std::vector<StepPart> parts_;
  std::vector<int32_t> done_;    // per part: tokens launched
  std::vector<float> gathered_;  // logits of steps of several launches, or from device memory
  std::vector<double> times_;
  StepContext context_;
  std::function<void(const DebugTensor&)> debug_;
  std::function<void()> launch_hook_;
  Profile* profile_ = nullptr;
};

}  // namespace tokamak
