#include "runtime/scheduler/scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {

struct Scheduler::Entry {
  Entry(RequestId id, SchedulerRequest r, BlockPool& pool, int32_t block_size)
      : id(id), request(std::move(r)), tokens(request.prompt), table(pool, block_size) {
    tokens.reserve(tokens.size() +
                   static_cast<size_t>(std::min<int64_t>(request.max_tokens, 1024)));
  }
  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  int64_t made() const { return length() - static_cast<int64_t>(request.prompt.size()); }
  // What is left to compute before the next token can be chosen.
  int32_t left() const { return length() - computed; }
  bool decodes() const { return left() == 1 && computed > 0; }
  bool complete() const { return made() >= request.max_tokens; }

  const RequestId id;
  const SchedulerRequest request;
  std::vector<int32_t> tokens;  // prompt and output
  int32_t to_come = 0;          // of them, at the end
  int32_t row = 0;              // of the last step's choices, that the last one comes from
  int32_t computed = 0;         // of them, in the KV cache
  int32_t shared = 0;           // full blocks that the tree knows
  int32_t reused = 0;           // tokens that it had when this started
  bool runs = false;            // in running_, not in waiting_
  BlockTable table;
};

namespace {

constexpr auto kFirst = [](const auto* a, const auto* b) {
  if (a->request.priority != b->request.priority) return a->request.priority > b->request.priority;
  return a->id < b->id;
};

template <typename Queue, typename Entry>
void insert_in_order(Queue& q, Entry* e) {
  q.insert(std::upper_bound(q.begin(), q.end(), e, kFirst), e);
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, BlockPool& pool)
    : options_(options), pool_(pool), tree_(pool, options.block_size) {
  if (options.max_num_tokens < 1 || options.max_batch_size < 1)
    fail("max_num_tokens {} and max_batch_size {} must be at least 1", options.max_num_tokens,
         options.max_batch_size);
}
Scheduler::~Scheduler() = default;

// Blocks for all that a request may become: its last token never enters the cache.
int32_t Scheduler::blocks_for_all(const Entry& e) const {
  const int64_t tokens = static_cast<int64_t>(e.request.prompt.size()) + e.request.max_tokens - 1;
  return static_cast<int32_t>((tokens + options_.block_size - 1) / options_.block_size);
}

RequestId Scheduler::add(SchedulerRequest request) {
  if (request.prompt.empty()) fail("a request has no tokens");
  if (request.max_tokens < 1)
    fail("a request asks for {} tokens, expected at least 1", request.max_tokens);
  if (options_.max_queue_size > 0 &&
      static_cast<int64_t>(waiting_.size()) >= options_.max_queue_size)
    fail("the queue is full: {} requests wait (max_queue_size)", waiting_.size());
  auto e = std::make_unique<Entry>(next_id_, std::move(request), pool_, options_.block_size);
  if (blocks_for_all(*e) > pool_.size())
    fail("a request of {} + {} tokens needs {} KV blocks of {} tokens, the cache has {}",
         e->request.prompt.size(), e->request.max_tokens, blocks_for_all(*e), options_.block_size,
         pool_.size());
  insert_in_order(waiting_, e.get());
  entries_[next_id_] = std::move(e);
  return next_id_++;
}

void Scheduler::remove(RequestId id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  std::erase(waiting_, it->second.get());
  std::erase(running_, it->second.get());
  entries_.erase(it);
}

bool Scheduler::finished(RequestId id) const {
  const Entry& e = *entries_.at(id);
  return e.made() - e.to_come >= e.request.max_tokens;
}

std::span<const int32_t> Scheduler::output(RequestId id) const {
  const Entry& e = *entries_.at(id);
  const size_t prompt = e.request.prompt.size();
  return std::span(e.tokens).subspan(prompt, e.tokens.size() - prompt - e.to_come);
}

bool Scheduler::make_room(int32_t blocks) {
  const int32_t missing = blocks - pool_.free_blocks();
  return missing <= 0 || tree_.evict(missing) >= missing;
}

// Room for so many more tokens of a running request. When there is none, the last of the running
// gives way, which may be this one: false then.
bool Scheduler::extend(Entry& e, int32_t tokens) {
  while (!make_room(e.table.blocks_for(tokens))) {
    Entry& last = *running_.back();
    const bool self = &last == &e;
    give_way(last);
    if (self) return false;
  }
  BlockTable::Copy copy;
  const bool room = e.table.append(tokens, &copy);
  TOKAMAK_ASSERT(room);
  if (copy.from >= 0) step_.copies.push_back({copy.from, copy.to});
  return true;
}

// Its blocks go; those that the tree knows may still be there when it comes back.
void Scheduler::give_way(Entry& e) {
  std::erase_if(step_.parts, [&](const ScheduledPart& p) {
    if (p.id == e.id) budget_ += static_cast<int64_t>(p.tokens.size());
    return p.id == e.id;
  });
  stop(e);
  std::erase(running_, &e);
  insert_in_order(waiting_, &e);
  step_.preempted.push_back(e.id);
  ++stats_.preemptions;
}

void Scheduler::stop(Entry& e) {
  e.table.clear();
  e.computed = e.shared = 0;
  e.runs = false;
}

void Scheduler::expire(double now) {
  for (const auto& [id, e] : entries_)
    if (e->request.deadline && *e->request.deadline <= now) step_.expired.push_back(id);
  for (const RequestId id : step_.expired) remove(id);
}

void Scheduler::add_part(Entry& e, int32_t count) {
  const bool last = count == e.left();
  step_.parts.push_back({e.id,
                         e.computed,
                         std::span(e.tokens).subspan(e.computed, count),
                         {},
                         last,
                         last && e.to_come > 0 ? e.row : -1,
                         static_cast<int32_t>(e.made())});
  budget_ -= count;
}

Schedule Scheduler::next(double now) {
  step_ = {};
  budget_ = options_.max_num_tokens;
  expire(now);
  run_decodes();
  run_prompts();
  admit();
  for (ScheduledPart& p : step_.parts) p.blocks = entries_.at(p.id)->table.blocks();
  return std::move(step_);
}

void Scheduler::run_decodes() {
  const Queue order = running_;
  for (Entry* e : order) {
    if (budget_ == 0) return;
    // It may have given way to one ahead, or only wait for its last token.
    if (!e->runs || !e->decodes() || e->complete()) continue;
    if (extend(*e, 1)) add_part(*e, 1);
  }
}

// Tokens for the next of so many prompts.
int64_t Scheduler::share_of(int64_t prompts) const {
  if (options_.chunks == ChunkPolicy::first_come_first_served) return budget_;
  return std::max<int64_t>(1, budget_ / prompts);
}

void Scheduler::run_prompts() {
  Queue prompts;
  for (Entry* e : running_)
    if (!e->decodes()) prompts.push_back(e);
  for (size_t i = 0; i < prompts.size() && budget_ > 0; ++i) {
    Entry* e = prompts[i];
    if (!e->runs) continue;
    const auto count = static_cast<int32_t>(
        std::min<int64_t>(e->left(), share_of(static_cast<int64_t>(prompts.size() - i))));
    if (extend(*e, count)) add_part(*e, count);
  }
}

// Takes over the blocks of a known prefix. At least one token is left to compute.
void Scheduler::start(Entry& e) {
  TOKAMAK_ASSERT(e.computed == 0 && e.table.tokens() == 0);
  if (!options_.reuse_prefixes || e.request.whole_prompt) return;
  const auto most = std::span(e.tokens).first(e.tokens.size() - 1);
  const std::vector<int32_t> blocks = tree_.match(most, e.request.cache_salt);
  e.table.adopt(blocks);
  e.shared = static_cast<int32_t>(blocks.size());
  e.computed = e.shared * options_.block_size;
  e.reused = e.computed;
}

void Scheduler::admit() {
  int64_t promised = 0;
  for (const Entry* e : running_) promised += blocks_for_all(*e);
  while (!waiting_.empty() && budget_ > 0 &&
         static_cast<int64_t>(running_.size()) < options_.max_batch_size) {
    Entry& e = *waiting_.front();
    if (std::ranges::find(step_.preempted, e.id) != step_.preempted.end()) return;
    if (e.to_come > 0) return;  // it gave way while its step was under way
    if (options_.capacity == CapacityPolicy::guaranteed_no_evict &&
        promised + blocks_for_all(e) > pool_.size())
      return;
    start(e);
    const auto prompts = std::min(static_cast<int64_t>(waiting_.size()),
                                  options_.max_batch_size - static_cast<int64_t>(running_.size()));
    const auto count = static_cast<int32_t>(std::min<int64_t>(e.left(), share_of(prompts)));
    if (!make_room(e.table.blocks_for(count))) return stop(e);  // it waits for those that run
    e.runs = true;
    promised += blocks_for_all(e);
    stats_.reused_tokens += e.computed;
    stats_.prompt_tokens += e.length();
    waiting_.erase(waiting_.begin());
    insert_in_order(running_, &e);
    const bool room = extend(e, count);
    TOKAMAK_ASSERT(room);
    add_part(e, count);
  }
}

// What holds as soon as the step is under way.
void Scheduler::advance(const Schedule& schedule) {
  int32_t row = 0;
  for (const ScheduledPart& p : schedule.parts) {
    const auto it = entries_.find(p.id);
    if (it != entries_.end()) {
      Entry& e = *it->second;
      e.computed = p.begin + static_cast<int32_t>(p.tokens.size());
      if (p.samples) {
        e.tokens.push_back(kTokenToCome);
        ++e.to_come;
        e.row = row;
      }
    }
    row += p.samples;
  }
}

void Scheduler::launched(Schedule& schedule) {
  TOKAMAK_ASSERT(!schedule.launched);
  advance(schedule);
  schedule.launched = true;
}

void Scheduler::done(const Schedule& schedule, std::span<const int32_t> sampled) {
  if (!schedule.launched) advance(schedule);
  size_t next = 0;
  for (const ScheduledPart& p : schedule.parts) {
    const int32_t token = p.samples ? sampled[next++] : 0;
    const auto it = entries_.find(p.id);
    if (it == entries_.end()) continue;  // removed while the step ran
    Entry& e = *it->second;
    if (p.samples) {
      e.tokens[e.tokens.size() - static_cast<size_t>(e.to_come)] = token;
      --e.to_come;
    }
    if (e.runs) share(e, p.begin + static_cast<int32_t>(p.tokens.size()));
  }
  TOKAMAK_ASSERT(next == sampled.size());
}

// Its full blocks among the first so many tokens, which are computed and known.
void Scheduler::share(Entry& e, int32_t tokens) {
  if (!options_.reuse_prefixes || tokens / options_.block_size <= e.shared) return;
  e.shared = tokens / options_.block_size;
  const auto blocks = tree_.insert(e.tokens, e.table.blocks().first(static_cast<size_t>(e.shared)),
                                   e.request.cache_salt, e.request.priority);
  for (size_t b = 0; b < blocks.size(); ++b) e.table.replace(b, blocks[b]);
}

int32_t Scheduler::reused(RequestId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? 0 : it->second->reused;
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats s = stats_;
  s.waiting = static_cast<int64_t>(waiting_.size());
  s.running = static_cast<int64_t>(running_.size());
  return s;
}

}  // namespace tokamak
