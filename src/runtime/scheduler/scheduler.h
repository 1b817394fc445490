// Which tokens of which requests the next step works on, and which KV blocks they use. Pure
// bookkeeping: no tensors, no threads, no clock of its own. Tokens of running sequences come first,
// then prompts in chunks, under max_num_tokens and max_batch_size: in-flight batching (OSDI '22,
// "Orca") with chunked prefill (arXiv 2308.16369).
#pragma once
#include <cstdint>
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
};

using RequestId = uint64_t;

struct SchedulerRequest {
  std::vector<int32_t> prompt;     // at least one token
  int64_t max_tokens = 1;          // at least one
  int32_t priority = 0;            // higher ones start first and give way last
  uint64_t cache_salt = 0;         // blocks are shared among equal salts alone
  std::optional<double> deadline;  // on the caller's clock
  bool whole_prompt = false;       // nothing of it is taken from the prefix tree
};

// In place of a token that a step under way will choose.
inline constexpr int32_t kTokenToCome = -1;

// A request's part of a step: tokens[begin, begin + count) of its prompt and output. The last part
// of what is there gives a new token.
struct ScheduledPart {
  RequestId id = 0;
  int32_t begin = 0;
  std::span<const int32_t> tokens;  // count of them; the last may be one to come
  std::span<const int32_t> blocks;  // for begin + count tokens
  bool samples = false;
  // Of a token to come: that of the `samples` parts of the step before which gives it.
  int32_t from_row = -1;
  int32_t made = 0;  // tokens that the request has, with one to come
};

struct Schedule {
  std::vector<ScheduledPart> parts;  // empty: nothing can run now. Valid until the next change
  struct Copy {
    int32_t from, to;  // KV blocks to copy before the step
  };
  std::vector<Copy> copies;
  std::vector<RequestId> expired;    // deadline passed: they are gone
  std::vector<RequestId> preempted;  // gave way; they wait and go on later by themselves
  bool launched = false;             // launched() knows of it
};

struct SchedulerStats {
  int64_t waiting = 0, running = 0;
  int64_t preemptions = 0, reused_tokens = 0, prompt_tokens = 0;  // since the start
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
  // The step is under way and will be done: the next one may be asked for before it is. Only one
  // may be under way then, and steps must run in order, each after all that the one before wrote.
  void launched(Schedule& schedule);
  // The step has run: what it computed may be shared. `sampled`: the tokens of the parts with
  // `samples`, in their order.
  void done(const Schedule& schedule, std::span<const int32_t> sampled);
  // A request made all its tokens; those to come do not count.
  bool finished(RequestId id) const;
  std::span<const int32_t> output(RequestId id) const;
  // Tokens of its prompt that the prefix tree had when it last started.
  int32_t reused(RequestId id) const;

  SchedulerStats stats() const;
  PrefixTree& prefixes() { return tree_; }
  const PrefixTree& prefixes() const { return tree_; }

 private:
  struct Entry;
  using Queue = std::vector<Entry*>;

  int32_t blocks_for_all(const Entry& e) const;
  bool make_room(int32_t blocks);
  void start(Entry& e);
  void stop(Entry& e);
  bool extend(Entry& e, int32_t tokens);
  void give_way(Entry& e);
  void expire(double now);
  void run_decodes();
  int64_t share_of(int64_t prompts) const;
  void run_prompts();
  void admit();
  void add_part(Entry& e, int32_t count);
  void advance(const Schedule& schedule);
  void share(Entry& e, int32_t tokens);

  SchedulerOptions options_;
  BlockPool& pool_;
  PrefixTree tree_;
  RequestId next_id_ = 1;
  std::map<RequestId, std::unique_ptr<Entry>> entries_;
  Queue waiting_, running_;  // by priority, then by arrival
  SchedulerStats stats_;
  Schedule step_;       // that next() makes
  int64_t budget_ = 0;  // tokens that it has left
};

}  // namespace tokamak
