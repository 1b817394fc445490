// Which tokens of which requests the next step works on, and which KV blocks they use. Pure
// bookkeeping: no tensors, no threads, no clock of its own. Tokens of running sequences come first,
// then prompts in chunks, under max_num_tokens and max_batch_size: in-flight batching (OSDI '22,
// "Orca") with chunked prefill (arXiv 2308.16369).
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/kv/block_table.h"
#include "runtime/kv/prefix_tree.h"

namespace tokamak {

enum class CapacityPolicy : uint8_t {
  guaranteed_no_evict,  // a request starts when all that it may become fits beside the others
  max_utilization,      // it starts when its next tokens fit; the last to come gives way when full
};
enum class ChunkPolicy : uint8_t {
  first_come_first_served,  // the first prompt gets all that is left of a step
  equal_progress,           // prompts share it
};

struct SchedulerOptions {
  int64_t max_num_tokens = 2048;  // of one step
  int64_t max_batch_size = 64;    // requests in one step
  int64_t max_queue_size = 0;     // waiting requests; 0: no limit
  int32_t block_size = 64;
  CapacityPolicy capacity = CapacityPolicy::guaranteed_no_evict;
  ChunkPolicy chunks = ChunkPolicy::first_come_first_served;
  bool reuse_prefixes = true;
  int32_t host_blocks = 0;  // KV blocks in host memory: where those that give way go
  // Of prompts, at most so many tokens beside so many of running sequences. None: what the step has
  // room for.
  std::function<int64_t(int64_t running)> prompts_beside = {};
};

using RequestId = uint64_t;

struct SchedulerRequest {
  std::vector<int32_t> prompt;     // at least one token
  int64_t max_tokens = 1;          // at least one
  int32_t priority = 0;            // higher ones start first and give way last
  uint64_t cache_salt = 0;         // blocks are shared among equal salts alone
  std::optional<double> deadline;  // on the caller's clock
  bool whole_prompt = false;       // nothing of it is taken from the prefix tree
  int32_t width = 1;               // sequences that its prompt may become, at most
};

// One of a request's sequences that goes on: the history of the present sequence `parent`, and one
// token more. Sequences that come from one share its KV blocks; the partly filled last one is
// copied when they write to it.
struct Branch {
  int32_t parent = 0;
  int32_t token = 0;
};

// In place of a token that a step under way will choose.
inline constexpr int32_t kTokenToCome = -1;

// A part of a step: tokens[begin, begin + count) of one sequence of a request. When all of a
// request's sequences have come to their end, they get new tokens, all in the same step: its parts
// stand side by side then, in order.
struct ScheduledPart {
  RequestId id = 0;
  int32_t sequence = 0;
  int32_t begin = 0;
  std::span<const int32_t> tokens;  // count of them; the last may be one to come
  std::span<const int32_t> blocks;  // for begin + count tokens
  bool samples = false;
  // Of a token to come: that of the `samples` parts of the step before which gives it.
  int32_t from_row = -1;
  int32_t made = 0;  // tokens that the request has, with one to come
  // How many of the tokens are guesses, the last ones. Logits are wanted for each of them and for
  // the token before.
  int32_t guesses = 0;
};

struct Schedule {
  std::vector<ScheduledPart> parts;  // empty: nothing can run now. Valid until the next change
  std::vector<KvCopy> copies;        // before the step, in this order
  std::vector<RequestId> expired;    // deadline passed: they are gone
  std::vector<RequestId> preempted;  // gave way; they wait and go on later by themselves
  bool launched = false;             // launched() knows of it
};

struct SchedulerStats {
  int64_t waiting = 0, running = 0;
  int64_t preemptions = 0, reused_tokens = 0, prompt_tokens = 0;  // since the start
  int64_t blocks_to_host = 0, blocks_from_host = 0;
  // Sums over (every eighth of the) steps: blocks that the running sequences would need if they
  // shared none, blocks that they use, and tokens in these.
  int64_t blocks_unshared = 0, blocks_used = 0, tokens_held = 0;
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, BlockPool& pool);
  ~Scheduler();

  // Error when the queue is full, or when the request could not run even alone.
  RequestId add(SchedulerRequest request);
  // Frees its blocks at once; unknown ids are ignored.
  void remove(RequestId id);
  Schedule next(double now);
  // Requests of one sequence whose next token the next step may give, and how many guesses of those
  // that follow it can be of use.
  struct Decoding {
    RequestId id = 0;
    std::span<const int32_t> prompt, output;  // until the next change
    int64_t most = 0;
  };
  std::vector<Decoding> decoding() const;
  // The next step computes these, too, as far as it has room. Not beside a step under way.
  void guess(RequestId id, std::span<const int32_t> tokens);
  // The step is under way and will be done: the next one may be asked for before it is. Only one
  // may be under way then, and steps must run in order, each after all that the one before wrote.
  void launched(Schedule& schedule);
  // The step has run: what it computed may be shared. `sampled`: what becomes of the sequences of
  // each request whose parts have `samples`, in their order. None: the caller will remove it. Of
  // a part with guesses: its tokens one after the other, of which those but the last were guesses.
  void done(const Schedule& schedule, std::span<const std::vector<Branch>> sampled);
  // The step failed: what its copies were to bring is not known. Its requests are to be removed.
  void failed(const Schedule& schedule);
  // While no step is under way: only these of its sequences go on.
  void keep(RequestId id, std::span<const int32_t> sequences);
  // A request made all its tokens; those to come do not count.
  bool finished(RequestId id) const;
  std::span<const int32_t> output(RequestId id, int32_t sequence = 0) const;
  int32_t sequences(RequestId id) const;
  // Tokens of its prompt that the prefix tree had when it last started.
  int32_t reused(RequestId id) const;

  SchedulerStats stats() const;
  // Sequences that a request may have at most.
  int64_t max_width() const { return std::min(options_.max_batch_size, options_.max_num_tokens); }
  PrefixTree& prefixes() { return tree_; }
  const PrefixTree& prefixes() const { return tree_; }

 private:
  struct Sequence;
  struct Entry;
  using Queue = std::vector<Entry*>;

  PrefixScope scope_of(const Entry& e) const;
  int32_t blocks_for_all(const Entry& e) const;
  bool make_room(int32_t blocks);
  void start(Entry& e, Sequence& s);
  void stop(Entry& e);
  bool extend(Entry& e, Sequence& s, int32_t tokens);
  bool extend_all(Entry& e);
  void share(Entry& e, Sequence& s, int32_t tokens);
  static void take(Sequence& s, std::span<const Branch> branches);
  static int32_t drop_wrong(Entry& e, Sequence& s, const ScheduledPart& p,
                            std::span<const Branch> branches);
  void branch(Entry& e, std::span<const Branch> branches);
  void give_way(Entry& e);
  void expire(double now);
  void run_decodes();
  int64_t share_of(int64_t prompts) const;
  void run_prompts();
  void admit();
  int32_t guesses_of(Entry& e, int64_t others);
  void add_part(Entry& e, Sequence& s, int32_t count, int32_t guesses = 0);
  void measure();
  void advance(const Schedule& schedule);

  SchedulerOptions options_;
  BlockPool& pool_;
  PrefixTree tree_;
  RequestId next_id_ = 1;
  std::map<RequestId, std::unique_ptr<Entry>> entries_;
  Queue waiting_, running_;  // by priority, then by arrival
  SchedulerStats stats_;
  Schedule step_;       // that next() makes
  int64_t budget_ = 0;  // tokens that it has left
  uint64_t steps_ = 0;
  std::vector<uint64_t> seen_;  // per block: the step that last counted it
};

}  // namespace tokamak
