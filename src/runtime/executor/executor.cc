#include "tokamak/executor.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "runtime/executor/delivery.h"
#include "runtime/executor/step_runner.h"
#include "runtime/scheduler/step_times.h"
#include "runtime/speculation/drafter.h"

namespace tokamak {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A call of the runner, without the lock.
struct Attempt {
  double begin = now_s(), end = 0;
  std::string error = {};  // "": it went well
};

template <typename F>
Attempt attempt(std::unique_lock<std::mutex>& lock, const F& call) {
  lock.unlock();
  Attempt a;
  try {
    call();
  } catch (const std::exception& e) {
    a.error = e.what();
  }
  a.end = now_s();
  lock.lock();
  return a;
}

SchedulerOptions scheduler_options(const ExecutorOptions& o, Session& session) {
  SchedulerOptions s;
  s.max_num_tokens = o.max_num_tokens > 0 ? std::min(o.max_num_tokens, session.max_num_tokens())
                                          : session.max_num_tokens();
  s.max_batch_size = o.max_batch_size > 0 ? o.max_batch_size
                                          : session.config().limits.max_batch_size *
                                                session.config().limits.max_beam_width;
  s.max_batch_size = std::min(s.max_batch_size, s.max_num_tokens);
  if (session.backend().sampler())  // all rows of a step in one launch
    s.max_batch_size = std::min(s.max_batch_size, session.max_logit_rows());
  s.max_queue_size = o.max_queue_size;
  s.block_size = session.kv_block_size();
  s.reuse_prefixes = o.enable_block_reuse;
  if (o.batch_scheduler_policy == "max_utilization")
    s.capacity = CapacityPolicy::max_utilization;
  else if (o.batch_scheduler_policy != "guaranteed_no_evict")
    fail("batch_scheduler_policy '{}': known: guaranteed_no_evict, max_utilization",
         o.batch_scheduler_policy);
  if (o.context_chunking_policy == "equal_progress")
    s.chunks = ChunkPolicy::equal_progress;
  else if (o.context_chunking_policy != "first_come_first_served")
    fail("context_chunking_policy '{}': known: first_come_first_served, equal_progress",
         o.context_chunking_policy);
  return s;
}

int32_t host_blocks(const ExecutorOptions& o, Session& session) {
  if (o.kv_cache_host_memory_bytes < 0)
    fail("kv_cache_host_memory_bytes is {}: it must not be negative", o.kv_cache_host_memory_bytes);
  return session.reserve_host_kv(o.kv_cache_host_memory_bytes);
}

// Room in the KV cache is what the scheduler shares out: it does not grow.
Scheduler make_scheduler(SchedulerOptions o, const ExecutorOptions& options, Session& session) {
  if (session.kv_pool().size() == 0)
    session.reserve(o.max_batch_size * session.config().limits.max_seq_len, o.max_batch_size);
  o.host_blocks = host_blocks(options, session);
  return Scheduler(o, session.kv_pool());
}

int64_t tokens_of(const Schedule& schedule) {
  int64_t n = 0;
  for (const ScheduledPart& p : schedule.parts) n += static_cast<int64_t>(p.tokens.size());
  return n;
}

}  // namespace

// Threads: callers (enqueue, cancel), the step loop, and one that delivers events. `mutex` guards
// the scheduler and the requests; steps run without it.
struct Executor::Impl {
  Impl(Session& session, const ExecutorOptions& options)
      : session(session),
        max_beam_width(options.max_beam_width),
        runner(session),
        drafter(options.drafter),
        max_prefill_tokens(options.max_prefill_tokens),
        scheduler(make_scheduler(limited(scheduler_options(options, session)), options, session)),
        stepper([this] { step_loop(); }) {}

  struct Request {
    std::unique_ptr<Choice> choice;
    PromptNotes prompt;
    ExecutorCallback callback;
    bool on_device = false;        // its tokens are chosen by the device, its logits are nobody's
    bool begun = false;            // its first token has been told
    std::vector<bool> ended = {};  // per output
    int32_t lora = -1;
  };
  // A step whose tokens are still to come.
  struct UnderWay {
    Schedule schedule;
    double started = 0;
  };
  struct Cancelled {
    uint64_t id;
    int32_t output;  // -1: all
  };

  SchedulerOptions limited(SchedulerOptions o);
  uint64_t enqueue(ExecutorRequest r, ExecutorCallback callback);
  void step_loop();
  std::vector<StepItem> items_of(const Schedule& schedule);
  void run_step(Schedule& schedule, std::unique_lock<std::mutex>& lock);
  bool runs_ahead() const { return !drafter && host_requests == 0 && runner.runs_ahead(); }
  void start_step(Schedule& schedule, std::unique_lock<std::mutex>& lock);
  void finish_step(std::unique_lock<std::mutex>& lock);
  void take_tokens(const Schedule& schedule, std::span<const int32_t> tokens);
  void fail_step(const Schedule& schedule, const std::string& error);
  void tell(StepItem& item);
  void tell(uint64_t id, Request& r, OutputNews& news);
  void end_output(uint64_t id, Request& r, ExecutorEvent event);
  void end(uint64_t id, const std::string& reason, const std::string& error = {});
  void count_end(const std::string& reason);
  void drop_cancelled();
  void draft(std::unique_lock<std::mutex>& lock);
  void count_guesses(const Schedule& schedule, std::span<const StepItem> items);
  void drop(uint64_t id, int32_t output);
  void run_calls(std::unique_lock<std::mutex>& lock);
  uint64_t salt_of(const ExecutorRequest& r) const;
  void unload_unused();

  Session& session;
  const int64_t max_beam_width;
  StepRunner runner;
  Drafter* const drafter;
  const int64_t max_prefill_tokens;
  StepTimes times;
  mutable std::mutex mutex;
  std::condition_variable work;
  bool stopping = false;
  Scheduler scheduler;
  std::map<uint64_t, Request> requests;
  int64_t host_requests = 0;       // of them: not on_device
  std::deque<UnderWay> under_way;  // of the step loop; at most two, in order
  double last_end = 0;             // of a step
  std::vector<Cancelled> cancelled;
  std::vector<std::packaged_task<void()>> calls;
  std::set<int32_t> leaving;  // adapters that no new request may have
  ExecutorStats counters;
  Results results;
  Delivery delivery;
  std::jthread stepper;
};

namespace {

// An embedding is all that comes of its request.
void check_embedding(const ExecutorRequest& r) {
  const std::pair<bool, const char*> others[] = {
      {r.params.width() > 1, "several outputs (n, best_of, beam_width)"},
      {r.params.guide != nullptr, "a guide"},
      {r.params.logprobs >= 0, "logprobs"},
      {r.prompt_logprobs >= 0, "prompt_logprobs"},
      {r.return_context_logits || r.return_generation_logits, "logits"},
      {r.logits_processor != nullptr, "a logits processor"}};
  for (const auto& [asked, what] : others)
    if (asked) fail("an embedding is wanted, which has no tokens: not together with {}", what);
}

}  // namespace

SchedulerOptions Executor::Impl::limited(SchedulerOptions o) {
  if (max_prefill_tokens < -1)
    fail("max_prefill_tokens is {}: it must be a number of tokens, 0 for no limit, or -1",
         max_prefill_tokens);
  if (max_prefill_tokens > 0)
    o.prompts_beside = [most = max_prefill_tokens](int64_t) { return most; };
  if (max_prefill_tokens < 0)
    o.prompts_beside = [this](int64_t running) { return times.prompts_beside(running); };
  return o;
}

uint64_t Executor::Impl::enqueue(ExecutorRequest r, ExecutorCallback callback) {
  r.params.validate();
  if (r.pooling) check_embedding(r);
  if (max_beam_width > 0 && r.params.beam_width > max_beam_width)
    fail("beam_width is {}: at most {} here (max_beam_width)", r.params.beam_width, max_beam_width);
  const auto outputs = static_cast<size_t>(r.params.n);
  Request request{make_choice(r, session.vocab_size()), PromptNotes(r), std::move(callback)};
  const bool whole = PromptNotes::wanted(r);
  request.on_device = !whole && !r.pooling && request.choice->on_device().size() == 1;
  request.ended.resize(outputs);
  SchedulerRequest s{std::move(r.tokens), r.params.max_tokens, r.priority, r.cache_salt, {}};
  s.whole_prompt = whole;
  s.width = static_cast<int32_t>(r.params.width());
  if (r.pooling) s.max_tokens = 1;
  if (r.pooling && session.hidden_size() == 0)
    fail("the engine keeps no hidden states for embeddings: build it again");
  if (r.timeout_s) s.deadline = now_s() + *r.timeout_s;
  request.lora = r.lora;
  std::lock_guard lock(mutex);
  s.cache_salt = salt_of(r);
  const uint64_t id = scheduler.add(std::move(s));
  if (!request.callback) {
    results.open(id, static_cast<int64_t>(request.ended.size()));
    request.callback = [this](const ExecutorEvent& e) { results.add(e); };
  }
  host_requests += !request.on_device;
  requests.emplace(id, std::move(request));
  work.notify_one();
  return id;
}

// Keys and values are of the adapter that they were made with.
uint64_t Executor::Impl::salt_of(const ExecutorRequest& r) const {
  if (r.lora < 0) return r.cache_salt;
  if (leaving.contains(r.lora)) fail("LoRA adapter {} is being unloaded", r.lora);
  session.adapters().check(r.lora);
  const uint64_t number = static_cast<uint64_t>(r.lora) + 1;
  return (r.cache_salt ^ number * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull + number;
}

void Executor::Impl::unload_unused() {
  std::erase_if(leaving, [this](int32_t lora) {
    for (const auto& [id, r] : requests)
      if (r.lora == lora) return false;
    session.adapters().unload(lora);
    return true;
  });
}

void Executor::Impl::run_calls(std::unique_lock<std::mutex>& lock) {
  while (!under_way.empty()) finish_step(lock);
  for (auto& call : std::exchange(calls, {})) call();
  if (!leaving.empty()) unload_unused();
}

void Executor::Impl::count_end(const std::string& reason) {
  if (reason == "error" || reason == "timeout")
    ++counters.failed;
  else if (reason == "cancelled")
    ++counters.cancelled;
  else
    ++counters.finished;
}

void Executor::Impl::end_output(uint64_t id, Request& r, ExecutorEvent event) {
  r.ended[static_cast<size_t>(event.output)] = true;
  event.id = id;
  delivery.post(r.callback, std::move(event));
}

// Ends a request, and what has not ended of its outputs.
void Executor::Impl::end(uint64_t id, const std::string& reason, const std::string& error) {
  const auto it = requests.find(id);
  if (it == requests.end()) return;
  count_end(reason);
  scheduler.remove(id);
  if (drafter) drafter->drop(id);
  Request& r = it->second;
  for (size_t i = 0; i < r.ended.size(); ++i)
    if (!r.ended[i])
      end_output(id, r,
                 {.output = static_cast<int32_t>(i), .finish_reason = reason, .error = error});
  host_requests -= !r.on_device;
  requests.erase(it);
}

void Executor::Impl::drop_cancelled() {
  for (const auto& [id, output] : cancelled)
    if (output < 0)
      end(id, "cancelled");
    else
      drop(id, output);
  cancelled.clear();
}

void Executor::Impl::drop(uint64_t id, int32_t output) {
  const auto it = requests.find(id);
  if (it == requests.end()) return;
  Request& r = it->second;
  if (static_cast<size_t>(output) >= r.ended.size() || r.ended[static_cast<size_t>(output)]) return;
  end_output(id, r, {.output = output, .finish_reason = "cancelled"});
  const bool all = std::ranges::count(r.ended, false) == 0;
  const std::vector<int32_t> kept = all ? std::vector<int32_t>() : r.choice->drop(output);
  if (kept.empty())
    end(id, "cancelled");
  else
    scheduler.keep(id, kept);
}

void Executor::Impl::step_loop() {
  std::unique_lock lock(mutex);
  while (true) {
    work.wait(lock, [this] {
      return stopping || !requests.empty() || !under_way.empty() || !calls.empty() ||
             !leaving.empty();
    });
    if (stopping) return;
    if (!calls.empty() || !leaving.empty()) run_calls(lock);
    if (requests.empty() && under_way.empty()) continue;
    const double start = now_s();
    drop_cancelled();
    while (!under_way.empty() && !runs_ahead()) finish_step(lock);
    if (drafter) draft(lock);
    Schedule schedule = scheduler.next(start);
    for (const uint64_t id : schedule.expired) end(id, "timeout");
    const size_t before = under_way.size();
    if (!schedule.parts.empty())
      runs_ahead() ? start_step(schedule, lock) : run_step(schedule, lock);
    if (before > 0) finish_step(lock);
    counters.busy_s += now_s() - start;
  }
}

// Only this thread takes requests away: they stay without the lock.
void Executor::Impl::draft(std::unique_lock<std::mutex>& lock) {
  std::vector<DraftRequest> drafts;
  for (const Scheduler::Decoding& d : scheduler.decoding())
    if (const Sampler* sampler = requests.at(d.id).choice->sampler(); sampler && d.most > 0)
      drafts.push_back({d.id, d.prompt, d.output, sampler, d.most, {}});
  if (drafts.empty()) return;
  lock.unlock();
  drafter->propose(drafts);
  lock.lock();
  for (const DraftRequest& d : drafts)
    if (!d.guesses.empty()) scheduler.guess(d.id, d.guesses);
}

void Executor::Impl::count_guesses(const Schedule& schedule, std::span<const StepItem> items) {
  for (const StepItem& item : items) {
    const int32_t guesses = schedule.parts[item.first].guesses;
    if (guesses == 0 || item.chosen.news.empty()) continue;
    ++counters.drafts;
    counters.draft_tokens += guesses;
    counters.accepted_draft_tokens += static_cast<int64_t>(item.chosen.news.size()) - 1;
  }
}

// Only this thread takes requests away: they stay while the step runs. A request's parts stand side
// by side.
std::vector<StepItem> Executor::Impl::items_of(const Schedule& schedule) {
  std::vector<StepItem> items;
  for (size_t i = 0; i < schedule.parts.size(); ++i) {
    const ScheduledPart& p = schedule.parts[i];
    if (!items.empty() && items.back().id == p.id) {
      ++items.back().parts;
      continue;
    }
    Request& r = requests.at(p.id);
    items.push_back({p.id, r.choice.get(), &r.prompt, i, 1, p.samples, r.lora});
  }
  return items;
}

// A step that fails fails its requests alone.
void Executor::Impl::run_step(Schedule& schedule, std::unique_lock<std::mutex>& lock) {
  std::vector<StepItem> items = items_of(schedule);
  const Attempt ran = attempt(lock, [&] { runner.run(schedule, items); });
  if (!ran.error.empty()) runner.drop();
  ++counters.steps;
  counters.step_s += ran.end - ran.begin;
  times.note(tokens_of(schedule), ran.end - ran.begin);
  last_end = now_s();
  if (!ran.error.empty()) return fail_step(schedule, ran.error);
  std::vector<std::vector<Branch>> sampled;
  for (const StepItem& item : items)
    if (item.samples) sampled.push_back(item.chosen.next);
  if (drafter) count_guesses(schedule, items);
  scheduler.done(schedule, sampled);
  for (StepItem& item : items) tell(item);
}

// The one before is still under way, or none is.
void Executor::Impl::start_step(Schedule& schedule, std::unique_lock<std::mutex>& lock) {
  const std::vector<StepItem> items = items_of(schedule);
  const Attempt started = attempt(lock, [&] { runner.start(schedule, items); });
  if (!started.error.empty()) return fail_step(schedule, started.error);
  scheduler.launched(schedule);
  under_way.push_back({std::move(schedule), started.begin});
}

void Executor::Impl::finish_step(std::unique_lock<std::mutex>& lock) {
  const UnderWay step = std::move(under_way.front());
  under_way.pop_front();
  std::span<const int32_t> tokens;
  const Attempt waited = attempt(lock, [&] { tokens = runner.finish(); });
  ++counters.steps;
  counters.step_s += waited.end - std::max(step.started, last_end);
  times.note(tokens_of(step.schedule), waited.end - std::max(step.started, last_end));
  last_end = waited.end;
  if (waited.error.empty()) return take_tokens(step.schedule, tokens);
  runner.drop();
  fail_step(step.schedule, waited.error);
  for (const UnderWay& next : under_way) fail_step(next.schedule, waited.error);
  under_way.clear();
}

// Requests that have ended since are passed over.
void Executor::Impl::take_tokens(const Schedule& schedule, std::span<const int32_t> tokens) {
  std::vector<std::vector<Branch>> sampled;
  std::vector<StepItem> items;
  for (const ScheduledPart& p : schedule.parts) {
    if (!p.samples) continue;
    const int32_t token = tokens[sampled.size()];
    sampled.push_back({{0, std::max(token, 0)}});
    const auto it = requests.find(p.id);
    if (it == requests.end()) continue;
    StepItem item{p.id, it->second.choice.get(), &it->second.prompt, 0, 1, true};
    try {
      item.chosen = item.choice->take({&token, 1});
    } catch (const std::exception& e) {
      item.error = e.what();
    }
    items.push_back(std::move(item));
  }
  scheduler.done(schedule, sampled);
  for (StepItem& item : items) tell(item);
}

void Executor::Impl::fail_step(const Schedule& schedule, const std::string& error) {
  log::error("a step with {} requests failed: {}", schedule.parts.size(), error);
  scheduler.failed(schedule);
  for (const ScheduledPart& p : schedule.parts) end(p.id, "error", error);
}

void Executor::Impl::tell(StepItem& item) {
  if (!item.error.empty()) return end(item.id, "error", item.error);
  if (!item.samples) return;
  Request& r = requests.at(item.id);
  for (OutputNews& news : item.chosen.news) tell(item.id, r, news);
  if (!item.chosen.next.empty()) return;
  // Outputs that nothing was found for (fewer beams than asked for).
  end(item.id, "length");
}

void Executor::Impl::tell(uint64_t id, Request& r, OutputNews& news) {
  if (r.ended[static_cast<size_t>(news.output)]) return;  // cancelled
  ExecutorEvent event{
      .id = id, .output = news.output, .token = news.token, .logprobs = std::move(news.logprobs)};
  event.logits = std::move(news.logits);
  counters.generated_tokens += event.token.has_value();
  if (!std::exchange(r.begun, true)) {
    event.prompt_logprobs = r.prompt.take_logprobs();
    event.context_logits = r.prompt.take_logits();
    if (r.prompt.pools()) event.embedding = r.prompt.take_embedding();
    event.reused_tokens = scheduler.reused(id);
  }
  event.finish_reason = std::move(news.finish_reason);
  event.score = news.score;
  if (event.last())
    end_output(id, r, std::move(event));
  else
    delivery.post(r.callback, std::move(event));
}

Executor::Executor(Session& session, ExecutorOptions options)
    : impl_(std::make_unique<Impl>(session, options)) {}

Executor::~Executor() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->work.notify_all();
  impl_->stepper.join();
  while (!impl_->requests.empty()) impl_->end(impl_->requests.begin()->first, "cancelled");
}

uint64_t Executor::enqueue(ExecutorRequest request, ExecutorCallback callback) {
  return impl_->enqueue(std::move(request), std::move(callback));
}

void Executor::cancel(uint64_t id) { cancel(id, -1); }

void Executor::cancel(uint64_t id, int32_t output) {
  std::lock_guard lock(impl_->mutex);
  if (!impl_->requests.contains(id)) return;
  impl_->cancelled.push_back({id, output});
  impl_->work.notify_one();
}

int64_t Executor::max_width() const { return impl_->scheduler.max_width(); }

ExecutorResult Executor::await(uint64_t id) { return impl_->results.await(id); }

void Executor::between_steps(const std::function<void()>& f) {
  std::packaged_task<void()> call(f);
  std::future<void> done = call.get_future();
  {
    std::lock_guard lock(impl_->mutex);
    impl_->calls.push_back(std::move(call));
  }
  impl_->work.notify_one();
  done.get();
}

void Executor::unload_lora(int32_t lora) {
  std::lock_guard lock(impl_->mutex);
  impl_->session.adapters().check(lora);
  impl_->leaving.insert(lora);
  impl_->work.notify_one();
}

ExecutorStats Executor::stats() const {
  std::lock_guard lock(impl_->mutex);
  ExecutorStats s = impl_->counters;
  const SchedulerStats now = impl_->scheduler.stats();
  s.waiting = now.waiting;
  s.running = now.running;
  s.preemptions = now.preemptions;
  s.prompt_tokens = now.prompt_tokens;
  s.reused_tokens = now.reused_tokens;
  s.kv_blocks_to_host = now.blocks_to_host;
  s.kv_blocks_from_host = now.blocks_from_host;
  const auto part = [](int64_t a, int64_t b) {
    return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : 0.0;
  };
  s.kv_shared = part(now.blocks_unshared - now.blocks_used, now.blocks_unshared);
  const int64_t slots = now.blocks_used * impl_->session.kv_block_size();
  s.kv_waste = part(slots - now.tokens_held, slots);
  const BlockPool& pool = impl_->session.kv_pool();
  s.kv_blocks = pool.size();
  s.kv_blocks_cached = impl_->scheduler.prefixes().evictable();
  s.kv_blocks_used = pool.used_blocks() - s.kv_blocks_cached;
  return s;
}

}  // namespace tokamak
