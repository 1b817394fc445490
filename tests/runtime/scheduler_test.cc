// The scheduler over a simulated KV cache and model: whatever the policies, chunks, preemptions and
// shared prefixes, each request gets the tokens that it gets alone, each token reads the KV that
// its own history wrote, and no block is lost.
#include "runtime/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;

// What a slot of the cache holds: the history of its token, as a hash.
uint64_t after(uint64_t history, int32_t token) {
  return (history ^ static_cast<uint64_t>(token + 1)) * 0x9E3779B97F4A7C15u ^ history >> 23;
}
int32_t next_token(uint64_t history) { return static_cast<int32_t>(history >> 40) & 31; }

std::vector<int32_t> alone(const SchedulerRequest& r) {
  uint64_t h = r.cache_salt;
  for (const int32_t t : r.prompt) h = after(h, t);
  std::vector<int32_t> out;
  for (int64_t i = 0; i < r.max_tokens; ++i) {
    out.push_back(next_token(h));
    h = after(h, out.back());
  }
  return out;
}

// What becomes of a request's sequences, from their histories: one of an even width is a beam
// search, where any sequence may follow any other; one of an odd width draws samples, some of which
// end early.
std::vector<Branch> branches_of(const SchedulerRequest& r, std::span<const uint64_t> histories) {
  const auto have = static_cast<int32_t>(histories.size());
  const bool beams = r.width % 2 == 0, one = have == 1;
  std::vector<Branch> out;
  for (int32_t k = 0; k < (beams || one ? r.width : have); ++k) {
    const auto parent =
        static_cast<int32_t>(beams ? histories[static_cast<size_t>(k % have)] >> 17 & 0xFFFF
                             : one ? 0
                                   : k) %
        have;
    const int32_t token = next_token(after(histories[static_cast<size_t>(parent)], 100 + k));
    if (!beams && !one && token == 0 && (k + 1 < have || !out.empty())) continue;
    out.push_back({parent, token});
  }
  return out;
}

using Outputs = std::vector<std::vector<int32_t>>;

Outputs all_alone(const SchedulerRequest& r) {
  if (r.width == 1) return {alone(r)};
  uint64_t h = r.cache_salt;
  for (const int32_t t : r.prompt) h = after(h, t);
  std::vector<uint64_t> histories{h};
  Outputs outputs{{}};
  for (int64_t i = 0; i < r.max_tokens; ++i) {
    std::vector<uint64_t> next;
    Outputs longer;
    for (const Branch& b : branches_of(r, histories)) {
      next.push_back(after(histories[static_cast<size_t>(b.parent)], b.token));
      longer.push_back(outputs[static_cast<size_t>(b.parent)]);
      longer.back().push_back(b.token);
    }
    histories = std::move(next);
    outputs = std::move(longer);
  }
  return outputs;
}

class Simulation {
 public:
  Simulation(const SchedulerOptions& options, int32_t blocks)
      : options_(options),
        pool_(blocks),
        kv_(static_cast<size_t>(blocks) * static_cast<size_t>(options.block_size)),
        host_(static_cast<size_t>(options.host_blocks) * static_cast<size_t>(options.block_size)),
        scheduler_(options, pool_) {}

  // stop: the token that ends it early.
  RequestId add(const SchedulerRequest& r, int32_t stop = -1) {
    const RequestId id = scheduler_.add(r);
    wanted_[id] = {r, stop};
    return id;
  }
  void cancel(RequestId id) {
    scheduler_.remove(id);
    wanted_.erase(id);
  }
  bool busy() const { return !wanted_.empty(); }
  Scheduler& scheduler() { return scheduler_; }
  BlockPool& pool() { return pool_; }
  std::vector<RequestId> ids() const {
    std::vector<RequestId> out;
    for (const auto& [id, r] : wanted_) out.push_back(id);
    return out;
  }

  // Runs a step; checks what it reads and writes; takes finished requests away.
  void step(double now = 0) {
    start(now);
    if (!wanted_.empty()) {
      EXPECT_FALSE(started_.parts.empty()) << "nothing runs, yet requests wait";
    }
    settle(started_, sampled_);
  }
  // The same, but the scheduler hears of a step's tokens when the next one is under way.
  void step_ahead(double now = 0) {
    const Schedule before = std::move(started_);
    const std::vector<std::vector<Branch>> tokens = sampled_;
    start(now);
    EXPECT_FALSE(!wanted_.empty() && started_.parts.empty() && before.parts.empty());
    scheduler_.launched(started_);
    settle(before, tokens);
  }

 private:
  void start(double now) {
    started_ = scheduler_.next(now);
    for (const RequestId id : started_.expired) wanted_.erase(id);
    for (const KvCopy& c : started_.copies) {
      auto& from = c.kind == KvCopy::from_host ? host_ : kv_;
      auto& to = c.kind == KvCopy::to_host ? host_ : kv_;
      std::copy_n(from.begin() + int64_t{c.from} * options_.block_size, options_.block_size,
                  to.begin() + int64_t{c.to} * options_.block_size);
    }
    int64_t tokens = 0;
    std::vector<std::vector<Branch>> sampled;
    std::vector<int32_t> row_tokens;
    std::vector<uint64_t> histories;
    for (size_t i = 0; i < started_.parts.size(); ++i) {
      const ScheduledPart& p = started_.parts[i];
      tokens += static_cast<int64_t>(p.tokens.size());
      const uint64_t h = run(p);
      if (!p.samples) continue;
      const SchedulerRequest& r = wanted_.at(p.id).request;
      histories.push_back(h);
      row_tokens.push_back(next_token(h));
      if (i + 1 < started_.parts.size() && started_.parts[i + 1].id == p.id) continue;
      if (r.width == 1)
        sampled.push_back({{0, next_token(h)}});
      else
        sampled.push_back(branches_of(r, histories));
      histories.clear();
    }
    sampled_ = sampled;
    row_tokens_ = row_tokens;
    EXPECT_LE(tokens, options_.max_num_tokens);
    EXPECT_LE(static_cast<int64_t>(started_.parts.size()), options_.max_batch_size);
  }
  void settle(const Schedule& schedule, std::span<const std::vector<Branch>> sampled) {
    scheduler_.done(schedule, sampled);
    for (const ScheduledPart& p : schedule.parts) {
      if (!p.samples || !wanted_.contains(p.id)) continue;
      const auto out = scheduler_.output(p.id);
      const auto& [request, stop] = wanted_.at(p.id);
      if (request.width > 1) {
        if (!scheduler_.finished(p.id)) continue;
        Outputs all;
        for (int32_t s = 0; s < scheduler_.sequences(p.id); ++s) {
          const auto one = scheduler_.output(p.id, s);
          all.emplace_back(one.begin(), one.end());
        }
        EXPECT_EQ(all, all_alone(request)) << "width " << request.width;
        cancel(p.id);
        continue;
      }
      if (!scheduler_.finished(p.id) && std::ranges::find(out, stop) == out.end()) continue;
      std::vector<int32_t> expected = alone(request);
      expected.resize(out.size());
      EXPECT_EQ(std::vector<int32_t>(out.begin(), out.end()), expected);
      cancel(p.id);
    }
  }
  std::vector<uint64_t>::iterator slot(int32_t block, int32_t at) {
    return kv_.begin() + int64_t{block} * options_.block_size + at;
  }
  // The history that its last token ends.
  uint64_t run(const ScheduledPart& p) {
    const SchedulerRequest& r = wanted_.at(p.id).request;
    std::vector<int32_t> all = r.prompt;
    const auto out = scheduler_.output(p.id, p.sequence);
    all.insert(all.end(), out.begin(), out.end());
    EXPECT_EQ(p.from_row >= 0, p.tokens.back() == kTokenToCome);
    if (p.from_row >= 0) all.push_back(row_tokens_.at(static_cast<size_t>(p.from_row)));
    EXPECT_EQ(p.made, static_cast<int64_t>(all.size() - r.prompt.size()));
    const auto count = static_cast<int32_t>(p.tokens.size());
    EXPECT_GT(count, 0);
    uint64_t h = r.cache_salt;
    for (int32_t i = 0; i < p.begin + count; ++i) {
      h = after(h, all.at(i));
      const auto at = slot(p.blocks[i / options_.block_size], i % options_.block_size);
      if (i >= p.begin) {
        if (p.from_row < 0 || i + 1 < p.begin + count) {
          EXPECT_EQ(p.tokens[i - p.begin], all[i]);
        }
        *at = h;
      }
      EXPECT_EQ(*at, h) << "request " << p.id << " reads another's token at " << i;
    }
    return h;
  }

  const SchedulerOptions options_;
  BlockPool pool_;
  std::vector<uint64_t> kv_, host_;
  Scheduler scheduler_;
  struct Wanted {
    SchedulerRequest request;
    int32_t stop = -1;
  };
  std::map<RequestId, Wanted> wanted_;
  Schedule started_;
  std::vector<std::vector<Branch>> sampled_;  // of started_
  std::vector<int32_t> row_tokens_;
};

SchedulerRequest request(std::mt19937& random, int longest) {
  SchedulerRequest r;
  const int family = static_cast<int>(random() % 3);  // prompts of a family begin alike
  const int length = 1 + static_cast<int>(random() % longest);
  const int common = static_cast<int>(random() % (length + 1));
  for (int i = 0; i < length; ++i)
    r.prompt.push_back(i < common ? (family * 7 + i) % 32 : static_cast<int32_t>(random() % 32));
  r.max_tokens = 1 + static_cast<int64_t>(random() % 20);
  r.priority = static_cast<int32_t>(random() % 3);
  r.cache_salt = random() % 2;
  if (random() % 3 == 0) r.width = 2 + static_cast<int32_t>(random() % 4);
  return r;
}

TEST(Scheduler, AnyScheduleGivesTheTokensOfARequestAlone) {
  int64_t preemptions = 0, reused = 0, to_host = 0, from_host = 0, shared = 0;
  for (uint32_t seed = 0; seed < 10000; ++seed) {
    std::mt19937 random(seed);
    SchedulerOptions o;
    o.block_size = 1 << random() % 4;
    o.max_num_tokens = 1 + static_cast<int64_t>(random() % 40);
    o.max_batch_size = 1 + static_cast<int64_t>(random() % 8);
    o.capacity =
        random() % 2 ? CapacityPolicy::max_utilization : CapacityPolicy::guaranteed_no_evict;
    o.chunks = random() % 2 ? ChunkPolicy::equal_progress : ChunkPolicy::first_come_first_served;
    o.reuse_prefixes = random() % 4 != 0;
    o.host_blocks = random() % 2 ? static_cast<int32_t>(random() % 40) : 0;
    if (random() % 3 == 0)
      o.prompts_beside = [most = 1 + random() % 8](int64_t running) {
        return static_cast<int64_t>(most) - running / 3;
      };
    const int longest = 30;
    const int32_t least = (longest + 20 + o.block_size - 1) / o.block_size;
    Simulation sim(o, least + static_cast<int32_t>(random() % (3 * least)));
    int left = 1 + static_cast<int>(random() % 10), steps = 0;
    const bool ahead = random() % 2;
    SCOPED_TRACE("seed " + std::to_string(seed));
    while (left > 0 || sim.busy()) {
      if (left > 0 && random() % 3 == 0) {
        SchedulerRequest r = request(random, longest);
        const auto stop = static_cast<int32_t>(random() % 64);
        try {
          sim.add(r, stop);
        } catch (const Error&) {  // so many sequences do not fit
          r.width = 1;
          sim.add(r, stop);
        }
        --left;
      }
      if (random() % 40 == 0 && sim.busy()) {
        const auto ids = sim.ids();
        sim.cancel(ids[random() % ids.size()]);
      }
      if (sim.busy()) ahead ? sim.step_ahead() : sim.step();
      ASSERT_LT(++steps, 20000) << "no progress";
      if (HasFailure()) return;
    }
    const SchedulerStats stats = sim.scheduler().stats();
    preemptions += stats.preemptions;
    reused += stats.reused_tokens;
    to_host += stats.blocks_to_host;
    from_host += stats.blocks_from_host;
    shared += stats.blocks_unshared - stats.blocks_used;
    if (o.capacity == CapacityPolicy::guaranteed_no_evict) {
      EXPECT_EQ(stats.preemptions, 0);
    }
    EXPECT_EQ(sim.pool().used_blocks(), sim.scheduler().prefixes().blocks());
    sim.scheduler().prefixes().clear();
    ASSERT_EQ(sim.pool().used_blocks(), 0) << "seed " << seed;
  }
  EXPECT_GT(preemptions, 100);
  EXPECT_GT(reused, 1000);
  EXPECT_GT(from_host, 100);
  EXPECT_GT(to_host, from_host);
  EXPECT_GT(shared, 1000);
}

TEST(Scheduler, SharesAPrefixWhileTheFirstRequestRuns) {
  SchedulerOptions o;
  o.block_size = 4;
  Simulation sim(o, 100);
  SchedulerRequest r;
  for (int i = 0; i < 18; ++i) r.prompt.push_back(i);
  r.max_tokens = 50;
  sim.add(r);
  sim.step();
  const int32_t first = sim.pool().used_blocks();
  for (int i = 0; i < 3; ++i) sim.add(r);
  sim.step();
  EXPECT_EQ(sim.scheduler().stats().reused_tokens, 3 * 16);
  EXPECT_LE(sim.pool().used_blocks(), first + 3);
  r.cache_salt = 1;
  sim.add(r);
  sim.step();
  EXPECT_EQ(sim.scheduler().stats().reused_tokens, 3 * 16) << "another salt shares nothing";
}

TEST(Scheduler, PrioritiesDeadlinesAndTheQueue) {
  SchedulerOptions o;
  o.block_size = 4;
  o.max_batch_size = 1;
  o.max_queue_size = 3;
  Simulation sim(o, 20);
  SchedulerRequest r;
  r.prompt = {1, 2, 3};
  r.max_tokens = 2;
  sim.add(r);
  r.priority = 5;
  const RequestId urgent = sim.add(r);
  r.priority = 0;
  r.deadline = 10;
  const RequestId late = sim.add(r);
  try {
    sim.add(r);
    FAIL() << "the queue holds 3";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("queue is full"));
  }
  const Schedule s = sim.scheduler().next(11);
  ASSERT_EQ(s.parts.size(), 1u);
  EXPECT_EQ(s.parts[0].id, urgent);
  EXPECT_EQ(s.expired, std::vector<RequestId>{late});
}

TEST(Scheduler, RefusesWhatCanNeverRun) {
  BlockPool pool(4);
  SchedulerOptions o;
  o.block_size = 4;
  Scheduler scheduler(o, pool);
  EXPECT_THROW(scheduler.add({}), Error);
  try {
    scheduler.add({std::vector<int32_t>(10), 8, 0, 0, {}});
    FAIL() << "17 tokens do not fit into 16";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("5 KV blocks of 4 tokens, the cache has 4"));
  }
  EXPECT_EQ(scheduler.add({std::vector<int32_t>(10), 7, 0, 0, {}}), 1u);
}

TEST(Scheduler, PromptsShareAStepEqually) {
  SchedulerOptions o;
  o.max_num_tokens = 30;
  o.chunks = ChunkPolicy::equal_progress;
  o.reuse_prefixes = false;
  Simulation sim(o, 20);
  SchedulerRequest r;
  r.prompt.assign(100, 1);
  for (int i = 0; i < 3; ++i) sim.add(r);
  sim.step();
  sim.step();
  sim.step();
  const Schedule s = sim.scheduler().next(0);
  ASSERT_EQ(s.parts.size(), 3u);
  for (const ScheduledPart& p : s.parts) EXPECT_EQ(p.tokens.size(), 10u);
}

TEST(Scheduler, PromptsKeepWithinTheirRoomBesideOthers) {
  SchedulerOptions o;
  o.max_num_tokens = 64;
  o.reuse_prefixes = false;
  o.prompts_beside = [](int64_t running) { return running == 1 ? 9 : 5; };
  Simulation sim(o, 40);
  SchedulerRequest r;
  r.prompt.assign(60, 1);
  r.max_tokens = 50;
  sim.add(r);
  sim.step();  // all of it: nobody waits
  EXPECT_EQ(sim.scheduler().output(1).size(), 1u);
  sim.add(r);
  sim.add(r);
  const Schedule s = sim.scheduler().next(0);
  ASSERT_EQ(s.parts.size(), 2u);
  EXPECT_EQ(s.parts[0].tokens.size(), 1u);
  EXPECT_EQ(s.parts[1].tokens.size(), 9u);
}

}  // namespace
}  // namespace tokamak
