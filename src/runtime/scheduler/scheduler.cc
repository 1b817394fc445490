#include "runtime/scheduler/scheduler.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/scheduler/entry.h"

namespace tokamak {
namespace {

constexpr uint64_t kMeasureEvery = 8;  // steps

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
    : options_(options), pool_(pool), tree_(pool, options.block_size, options.host_blocks) {
  if (options.max_num_tokens < 1 || options.max_batch_size < 1)
    fail("max_num_tokens {} and max_batch_size {} must be at least 1", options.max_num_tokens,
         options.max_batch_size);
}
Scheduler::~Scheduler() = default;

// What a request leaves in the tree when prefixes are not shared is for itself alone.
PrefixScope Scheduler::scope_of(const Entry& e) const {
  return {e.request.cache_salt, options_.reuse_prefixes ? 0 : e.id};
}

// Blocks for all that a request may become: its last tokens never enter the cache, and its
// sequences share the full blocks of its prompt.
int32_t Scheduler::blocks_for_all(const Entry& e) const {
  const auto prompt = static_cast<int64_t>(e.request.prompt.size());
  const int64_t tokens = prompt + e.request.max_tokens - 1;
  const int64_t all = (tokens + options_.block_size - 1) / options_.block_size;
  const int64_t shared = e.request.width > 1 ? prompt / options_.block_size : 0;
  return static_cast<int32_t>(
      std::min<int64_t>(shared + e.request.width * (all - shared), int64_t{1} << 30));
}

RequestId Scheduler::add(SchedulerRequest request) {
  if (request.prompt.empty()) fail("a request has no tokens");
  if (request.max_tokens < 1)
    fail("a request asks for {} tokens, expected at least 1", request.max_tokens);
  if (request.width < 1 || request.width > max_width())
    fail("a request of {} sequences does not fit into a step of {} (max_batch_size)", request.width,
         max_width());
  if (options_.max_queue_size > 0 &&
      static_cast<int64_t>(waiting_.size()) >= options_.max_queue_size)
    fail("the queue is full: {} requests wait (max_queue_size)", waiting_.size());
  auto e = std::make_unique<Entry>(next_id_, std::move(request), pool_, options_.block_size);
  if (blocks_for_all(*e) > pool_.size())
    fail("a request of {} + {} tokens{} needs {} KV blocks of {} tokens, the cache has {}",
         e->request.prompt.size(), e->request.max_tokens,
         e->request.width > 1 ? fmt::format(" in {} sequences", e->request.width) : std::string(),
         blocks_for_all(*e), options_.block_size, pool_.size());
  insert_in_order(waiting_, e.get());
  entries_[next_id_] = std::move(e);
  return next_id_++;
}

void Scheduler::remove(RequestId id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  std::erase(waiting_, it->second.get());
  std::erase(running_, it->second.get());
  const bool own = !options_.reuse_prefixes && it->second->gave_way;
  entries_.erase(it);
  if (own) tree_.forget(id);
}

std::span<const int32_t> Scheduler::output(RequestId id, int32_t sequence) const {
  const Entry& e = *entries_.at(id);
  const Sequence& s = e.sequences.at(static_cast<size_t>(sequence));
  const size_t prompt = e.request.prompt.size();
  return std::span(s.tokens).subspan(prompt,
                                     s.tokens.size() - prompt - static_cast<size_t>(s.to_come));
}

bool Scheduler::finished(RequestId id) const {
  const Entry& e = *entries_.at(id);
  return e.made() - e.to_come() >= e.request.max_tokens;
}

int32_t Scheduler::sequences(RequestId id) const {
  return static_cast<int32_t>(entries_.at(id)->sequences.size());
}

bool Scheduler::make_room(int32_t blocks) {
  const int32_t missing = blocks - pool_.free_blocks();
  return missing <= 0 || tree_.evict(missing, step_.copies) >= missing;
}

// Room for so many more tokens of a running sequence. When there is none, the last of the running
// requests gives way, which may be this one: false then.
bool Scheduler::extend(Entry& e, Sequence& s, int32_t tokens) {
  while (!make_room(s.table.blocks_for(tokens))) {
    Entry& last = *running_.back();
    const bool self = &last == &e;
    give_way(last);
    if (self) return false;
  }
  BlockTable::Copy copy;
  const bool room = s.table.append(tokens, &copy);
  TOKAMAK_ASSERT(room);
  if (copy.from >= 0) step_.copies.push_back({KvCopy::within, copy.from, copy.to});
  return true;
}

// A token more for all sequences.
bool Scheduler::extend_all(Entry& e) {
  return std::ranges::all_of(e.sequences, [&](Sequence& s) { return extend(e, s, 1); });
}

// Its blocks go to the tree, from where others push them to host memory, or out; what is there when
// it comes back need not be computed again.
void Scheduler::give_way(Entry& e) {
  std::erase_if(step_.parts, [&](const ScheduledPart& p) {
    if (p.id == e.id) budget_ += static_cast<int64_t>(p.tokens.size());
    return p.id == e.id;
  });
  for (Sequence& s : e.sequences) {
    s.known = std::max(s.known, s.computed);
    share(e, s, s.computed);
  }
  e.gave_way = true;
  stop(e);
  std::erase(running_, &e);
  insert_in_order(waiting_, &e);
  step_.preempted.push_back(e.id);
  ++stats_.preemptions;
}

// Its full blocks among the first so many tokens, which are computed and known.
void Scheduler::share(Entry& e, Sequence& s, int32_t tokens) {
  const int32_t full = tokens / options_.block_size;
  if (full <= s.shared) return;
  s.shared = full;
  const auto blocks = tree_.insert(s.tokens, s.table.blocks().first(static_cast<size_t>(full)),
                                   scope_of(e), e.request.priority);
  for (size_t b = 0; b < blocks.size(); ++b) s.table.replace(b, blocks[b]);
}

void Scheduler::stop(Entry& e) {
  for (Sequence& s : e.sequences) {
    s.table.clear();
    s.computed = s.shared = 0;
    s.guessed.clear();
  }
  e.runs = false;
}

void Scheduler::expire(double now) {
  for (const auto& [id, e] : entries_)
    if (e->request.deadline && *e->request.deadline <= now) step_.expired.push_back(id);
  for (const RequestId id : step_.expired) remove(id);
}

std::vector<Scheduler::Decoding> Scheduler::decoding() const {
  std::vector<Decoding> all;
  for (const Entry* e : running_)
    if (e->request.width == 1 && e->decodes() && !e->complete() && e->to_come() == 0)
      all.push_back(
          {e->id, e->request.prompt, output(e->id), e->request.max_tokens - e->made() - 1});
  return all;
}

void Scheduler::guess(RequestId id, std::span<const int32_t> tokens) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  const Entry& e = *it->second;
  TOKAMAK_ASSERT(e.to_come() == 0 && e.request.width == 1);
  const auto most = std::max<int64_t>(0, e.request.max_tokens - e.made() - 1);
  Sequence& s = it->second->sequences[0];
  s.guessed.assign(1, s.tokens.back());
  s.guessed.insert(s.guessed.end(), tokens.begin(),
                   tokens.begin() + std::min(most, static_cast<int64_t>(tokens.size())));
}

// As many as fit without taking anything from others, which have so many tokens in this step.
int32_t Scheduler::guesses_of(Entry& e, int64_t others) {
  Sequence& s = e.sequences[0];
  if (s.guessed.empty()) return 0;
  const auto room = std::min(static_cast<int64_t>(s.guessed.size()) - 1, budget_ - 1 - others);
  auto guesses = static_cast<int32_t>(std::max<int64_t>(room, 0));
  if (!make_room(s.table.blocks_for(1 + guesses))) guesses = 0;
  if (guesses == 0) s.guessed.clear();  // they would be old next time
  return guesses;
}

void Scheduler::add_part(Entry& e, Sequence& s, int32_t count, int32_t guesses) {
  const bool last = count == s.left();
  ScheduledPart& p = step_.parts.emplace_back();
  p.id = e.id;
  p.sequence = static_cast<int32_t>(&s - e.sequences.data());
  p.begin = s.computed;
  p.tokens =
      std::span(s.tokens).subspan(static_cast<size_t>(s.computed), static_cast<size_t>(count));
  if (guesses > 0) p.tokens = std::span(s.guessed).first(static_cast<size_t>(1 + guesses));
  p.guesses = guesses;
  p.samples = last;
  p.from_row = last && s.to_come > 0 ? e.row : -1;
  p.made = static_cast<int32_t>(e.made());
  budget_ -= count + guesses;
}

Schedule Scheduler::next(double now) {
  step_ = {};
  budget_ = options_.max_num_tokens;
  expire(now);
  run_decodes();
  if (const int64_t running = options_.max_num_tokens - budget_;
      running > 0 && options_.prompts_beside)
    budget_ = std::min(budget_, std::max<int64_t>(1, options_.prompts_beside(running)));
  run_prompts();
  admit();
  for (ScheduledPart& p : step_.parts)
    p.blocks = entries_.at(p.id)->sequences[static_cast<size_t>(p.sequence)].table.blocks();
  if (steps_++ % kMeasureEvery == 0) measure();
  return std::move(step_);
}

void Scheduler::run_decodes() {
  const Queue order = running_;
  // It may have given way to one ahead, or only wait for what comes of a step.
  const auto has_next = [](const Entry* e) {
    return e->runs && e->decodes() && !e->complete() && !e->branches;
  };
  int64_t others = 0;  // tokens of those behind
  for (const Entry* e : order)
    if (has_next(e)) others += static_cast<int64_t>(e->sequences.size());
  for (Entry* e : order) {
    if (!has_next(e)) continue;
    if (budget_ < static_cast<int64_t>(e->sequences.size())) return;
    others -= static_cast<int64_t>(e->sequences.size());
    const int32_t guesses = guesses_of(*e, others);
    if (guesses > 0 ? !extend(*e, e->sequences[0], 1 + guesses) : !extend_all(*e)) continue;
    for (Sequence& s : e->sequences) add_part(*e, s, 1, guesses);
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
    if (!e->runs || e->branches) continue;
    Sequence& s = e->next();
    if (s.computed == 0) start(*e, s);
    const auto count = static_cast<int32_t>(
        std::min<int64_t>(e->left(s), share_of(static_cast<int64_t>(prompts.size() - i))));
    if (extend(*e, s, count)) add_part(*e, s, count);
  }
}

// Takes over the blocks of a known prefix. At least one token is left to compute.
void Scheduler::start(Entry& e, Sequence& s) {
  TOKAMAK_ASSERT(s.computed == 0 && s.table.tokens() == 0);
  if (!options_.reuse_prefixes && !e.gave_way) return;
  size_t most = s.tokens.size() - (e.sequences.size() > 1 ? 2 : 1);
  // What is to be learned of a prompt comes from computing it, once.
  if (e.request.whole_prompt && e.sequences.size() == 1)
    most = std::min(most, static_cast<size_t>(s.known));
  const std::vector<int32_t> blocks =
      tree_.match(std::span(s.tokens).first(most), scope_of(e), step_.copies);
  s.table.adopt(blocks);
  s.shared = static_cast<int32_t>(blocks.size());
  s.computed = s.shared * options_.block_size;
}

void Scheduler::admit() {
  int64_t promised = 0, width = 0;
  for (const Entry* e : running_) {
    promised += blocks_for_all(*e);
    width += e->request.width;
  }
  while (!waiting_.empty() && budget_ > 0) {
    Entry& e = *waiting_.front();
    if (e.to_come() > 0 || e.branches) return;  // it gave way while its step was under way
    if (width + e.request.width > options_.max_batch_size) return;
    if (std::ranges::find(step_.preempted, e.id) != step_.preempted.end()) return;
    if (options_.capacity == CapacityPolicy::guaranteed_no_evict &&
        promised + blocks_for_all(e) > pool_.size())
      return;
    Sequence& s = e.sequences[0];
    start(e, s);
    e.reused = s.computed;
    const auto prompts =
        std::min(static_cast<int64_t>(waiting_.size()), options_.max_batch_size - width);
    const auto count = static_cast<int32_t>(std::min<int64_t>(e.left(s), share_of(prompts)));
    if (!make_room(s.table.blocks_for(count))) return stop(e);  // it waits for those that run
    e.runs = true;
    promised += blocks_for_all(e);
    width += e.request.width;
    stats_.reused_tokens += s.computed;
    stats_.prompt_tokens += s.length();
    waiting_.erase(waiting_.begin());
    insert_in_order(running_, &e);
    const bool room = extend(e, s, count);
    TOKAMAK_ASSERT(room);
    add_part(e, s, count);
  }
}

// What holds as soon as the step is under way.
void Scheduler::advance(const Schedule& schedule) {
  int32_t row = 0;
  for (const ScheduledPart& p : schedule.parts) {
    const int32_t here = row;
    row += p.samples;
    const auto it = entries_.find(p.id);
    if (it == entries_.end()) continue;
    Entry& e = *it->second;
    Sequence& s = e.sequences[static_cast<size_t>(p.sequence)];
    s.computed = p.begin + static_cast<int32_t>(p.tokens.size());
    if (!p.samples) continue;
    if (e.request.width > 1) {
      e.branches = true;
      continue;
    }
    s.tokens.push_back(kTokenToCome);
    ++s.to_come;
    e.row = here;
  }
}

void Scheduler::launched(Schedule& schedule) {
  TOKAMAK_ASSERT(!schedule.launched);
  for (const ScheduledPart& p : schedule.parts) TOKAMAK_ASSERT(p.guesses == 0);
  advance(schedule);
  schedule.launched = true;
}

void Scheduler::done(const Schedule& schedule, std::span<const std::vector<Branch>> sampled) {
  if (!schedule.launched) advance(schedule);
  size_t next = 0;
  for (size_t i = 0; i < schedule.parts.size(); ++i) {
    const ScheduledPart& p = schedule.parts[i];
    const bool last = i + 1 == schedule.parts.size() || schedule.parts[i + 1].id != p.id;
    const std::vector<Branch>* branches = p.samples && last ? &sampled[next++] : nullptr;
    const auto it = entries_.find(p.id);
    if (it == entries_.end()) continue;  // removed while the step ran
    Entry& e = *it->second;
    Sequence& s = e.sequences[static_cast<size_t>(p.sequence)];
    int32_t computed = p.begin + static_cast<int32_t>(p.tokens.size());
    if (e.request.width == 1 && p.samples) take(s, *branches);
    if (p.guesses > 0) computed = drop_wrong(e, s, p, *branches);
    if (e.runs && (options_.reuse_prefixes || (e.gave_way && e.sequences.size() > 1)))
      share(e, s, computed);
    if (e.request.width > 1 && branches) branch(e, *branches);
  }
  TOKAMAK_ASSERT(next == sampled.size());
}

// The token to come has come.
void Scheduler::take(Sequence& s, std::span<const Branch> branches) {
  s.tokens[s.tokens.size() - static_cast<size_t>(s.to_come)] =
      branches.empty() ? 0 : branches[0].token;
  --s.to_come;
  for (size_t i = 1; i < branches.size(); ++i) s.tokens.push_back(branches[i].token);
}

// Guesses that were wrong leave the cache. How many tokens are computed then.
int32_t Scheduler::drop_wrong(Entry& e, Sequence& s, const ScheduledPart& p,
                              std::span<const Branch> branches) {
  const auto right = static_cast<int32_t>(std::max<size_t>(branches.size(), 1)) - 1;
  TOKAMAK_ASSERT(right <= p.guesses);
  s.guessed.clear();
  const int32_t computed = p.begin + 1 + right;
  if (!e.runs) return computed;
  s.computed = computed;
  s.table.truncate(computed);
  return computed;
}

// The last branch of a sequence takes it over, the others share its blocks.
void Scheduler::branch(Entry& e, std::span<const Branch> branches) {
  TOKAMAK_ASSERT(branches.size() <= static_cast<size_t>(e.request.width));
  e.branches = false;
  if (branches.empty()) return;  // the caller removes it
  std::vector<int32_t> uses(e.sequences.size());
  for (const Branch& b : branches) ++uses.at(static_cast<size_t>(b.parent));
  std::vector<Sequence> now;
  now.reserve(branches.size());
  for (const Branch& b : branches) {
    Sequence& from = e.sequences[static_cast<size_t>(b.parent)];
    if (--uses[static_cast<size_t>(b.parent)] == 0) {
      now.push_back(std::move(from));
    } else {
      Sequence& copy = now.emplace_back(from.tokens, from.table.fork());
      copy.computed = from.computed;
      copy.shared = from.shared;
      copy.known = from.known;
    }
    if (b.token >= 0) now.back().tokens.push_back(b.token);
  }
  e.sequences = std::move(now);
}

void Scheduler::keep(RequestId id, std::span<const int32_t> sequences) {
  std::vector<Branch> branches;
  for (const int32_t s : sequences) branches.push_back({s, -1});
  const auto it = entries_.find(id);
  if (it != entries_.end() && !branches.empty()) branch(*it->second, branches);
}

void Scheduler::failed(const Schedule& schedule) {
  if (schedule.copies.empty()) return;
  tree_.clear();
  for (const auto& [id, e] : entries_)
    for (Sequence& s : e->sequences) s.shared = 0;
}

// Each block counts once, however many use it.
void Scheduler::measure() {
  seen_.resize(static_cast<size_t>(pool_.size()), 0);
  for (const Entry* e : running_) {
    for (const Sequence& s : e->sequences) {
      const std::span<const int32_t> blocks = s.table.blocks();
      stats_.blocks_unshared += static_cast<int64_t>(blocks.size());
      for (size_t i = 0; i < blocks.size(); ++i) {
        if (std::exchange(seen_[static_cast<size_t>(blocks[i])], steps_) == steps_) continue;
        ++stats_.blocks_used;
        stats_.tokens_held += std::min<int64_t>(
            options_.block_size, s.table.tokens() - static_cast<int64_t>(i) * options_.block_size);
      }
    }
  }
}

int32_t Scheduler::reused(RequestId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? 0 : it->second->reused;
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats s = stats_;
  s.waiting = static_cast<int64_t>(waiting_.size());
  s.running = static_cast<int64_t>(running_.size());
  s.blocks_to_host = tree_.blocks_to_host();
  s.blocks_from_host = tree_.blocks_from_host();
  return s;
}

}  // namespace tokamak
