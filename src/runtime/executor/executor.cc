#include "tokamak/executor.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "runtime/executor/delivery.h"
#include "runtime/executor/step_runner.h"

namespace tokamak {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

SchedulerOptions scheduler_options(const ExecutorOptions& o, Session& session) {
  SchedulerOptions s;
  s.max_num_tokens = o.max_num_tokens > 0 ? std::min(o.max_num_tokens, session.max_num_tokens())
                                          : session.max_num_tokens();
  s.max_batch_size =
      o.max_batch_size > 0 ? o.max_batch_size : session.config().limits.max_batch_size;
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

// Room in the KV cache is what the scheduler shares out: it does not grow.
Scheduler make_scheduler(const SchedulerOptions& o, Session& session) {
  if (session.kv_pool().size() == 0)
    session.reserve(o.max_batch_size * session.config().limits.max_seq_len, o.max_batch_size);
  return Scheduler(o, session.kv_pool());
}

}  // namespace

// Threads: callers (enqueue, cancel), the step loop, and one that delivers events. `mutex` guards
// the scheduler and the requests; steps run without it.
struct Executor::Impl {
  Impl(Session& session, const ExecutorOptions& options)
      : session(session),
        runner(session),
        scheduler(make_scheduler(scheduler_options(options, session), session)),
        stepper([this] { step_loop(); }) {}

  struct Request {
    std::unique_ptr<Choice> choice;
    PromptNotes prompt;
    ExecutorCallback callback;
    bool on_device = false;  // its tokens are chosen by the device, its logits are nobody's
    bool begun = false;      // its first token has been told
  };
  // A step whose tokens are still to come.
  struct UnderWay {
    Schedule schedule;
    double started = 0;
  };

  uint64_t enqueue(ExecutorRequest r, ExecutorCallback callback);
  void step_loop();
  std::vector<StepItem> items_of(const Schedule& schedule);
  void run_step(Schedule& schedule, std::unique_lock<std::mutex>& lock);
  bool runs_ahead() const { return host_requests == 0 && runner.runs_ahead(); }
  void start_step(Schedule& schedule, std::unique_lock<std::mutex>& lock);
  void finish_step(std::unique_lock<std::mutex>& lock);
  void take_tokens(const Schedule& schedule, std::span<const int32_t> tokens);
  void fail_step(const Schedule& schedule, const std::string& error);
  void tell(StepItem& item);
  void end(uint64_t id, ExecutorEvent event);
  void count_end(const std::string& reason);
  void drop_cancelled();

  Session& session;
  StepRunner runner;
  mutable std::mutex mutex;
  std::condition_variable work;
  bool stopping = false;
  Scheduler scheduler;
  std::map<uint64_t, Request> requests;
  int64_t host_requests = 0;       // of them: not on_device
  std::deque<UnderWay> under_way;  // of the step loop; at most two, in order
  double last_end = 0;             // of a step
  std::vector<uint64_t> cancelled;
  ExecutorStats counters;
  Results results;
  Delivery delivery;
  std::jthread stepper;
};

uint64_t Executor::Impl::enqueue(ExecutorRequest r, ExecutorCallback callback) {
  r.params.validate();
  Request request{make_choice(r, session.vocab_size()), PromptNotes(r), std::move(callback)};
  request.on_device =
      r.prompt_logprobs < 0 && !r.pooling && request.choice->on_device().size() == 1;
  SchedulerRequest s{std::move(r.tokens), r.params.max_tokens, r.priority, r.cache_salt, {}};
  s.whole_prompt = r.prompt_logprobs >= 0 || r.pooling == Pooling::mean;
  if (r.pooling) s.max_tokens = 1;
  if (r.pooling && session.hidden_size() == 0)
    fail("the engine keeps no hidden states for embeddings: build it again");
  if (r.timeout_s) s.deadline = now_s() + *r.timeout_s;
  std::lock_guard lock(mutex);
  const uint64_t id = scheduler.add(std::move(s));
  if (!request.callback) {
    results.open(id);
    request.callback = [this](const ExecutorEvent& e) { results.add(e); };
  }
  host_requests += !request.on_device;
  requests.emplace(id, std::move(request));
  work.notify_one();
  return id;
}

void Executor::Impl::count_end(const std::string& reason) {
  if (reason == "error" || reason == "timeout")
    ++counters.failed;
  else if (reason == "cancelled")
    ++counters.cancelled;
  else
    ++counters.finished;
}

void Executor::Impl::end(uint64_t id, ExecutorEvent event) {
  const auto it = requests.find(id);
  if (it == requests.end()) return;
  count_end(event.finish_reason);
  scheduler.remove(id);
  event.id = id;
  delivery.post(it->second.callback, std::move(event));
  host_requests -= !it->second.on_device;
  requests.erase(it);
}

void Executor::Impl::drop_cancelled() {
  for (const uint64_t id : cancelled) end(id, {.finish_reason = "cancelled"});
  cancelled.clear();
}

void Executor::Impl::step_loop() {
  std::unique_lock lock(mutex);
  while (true) {
    work.wait(lock, [this] { return stopping || !requests.empty() || !under_way.empty(); });
    if (stopping) return;
    const double start = now_s();
    drop_cancelled();
    while (!under_way.empty() && !runs_ahead()) finish_step(lock);
    Schedule schedule = scheduler.next(start);
    for (const uint64_t id : schedule.expired) end(id, {.finish_reason = "timeout"});
    const size_t before = under_way.size();
    if (!schedule.parts.empty())
      runs_ahead() ? start_step(schedule, lock) : run_step(schedule, lock);
    if (before > 0) finish_step(lock);
    counters.busy_s += now_s() - start;
  }
}

// Only this thread takes requests away: they stay while the step runs.
std::vector<StepItem> Executor::Impl::items_of(const Schedule& schedule) {
  std::vector<StepItem> items;
  for (size_t i = 0; i < schedule.parts.size(); ++i) {
    const ScheduledPart& p = schedule.parts[i];
    Request& r = requests.at(p.id);
    items.push_back({p.id, r.choice.get(), &r.prompt, i, 1, p.samples});
  }
  return items;
}

// A step that fails fails its requests alone.
void Executor::Impl::run_step(Schedule& schedule, std::unique_lock<std::mutex>& lock) {
  std::vector<StepItem> items = items_of(schedule);
  lock.unlock();
  const double start = now_s();
  std::string error;
  try {
    runner.run(schedule, items);
  } catch (const std::exception& e) {
    error = e.what();
    runner.drop();
  }
  const double took = now_s() - start;
  lock.lock();
  ++counters.steps;
  counters.step_s += took;
  last_end = now_s();
  if (!error.empty()) return fail_step(schedule, error);
  std::vector<int32_t> sampled;
  for (const StepItem& item : items)
    if (item.samples) sampled.push_back(item.chosen.next.empty() ? 0 : item.chosen.next[0].token);
  scheduler.done(schedule, sampled);
  for (StepItem& item : items) tell(item);
}

// The one before is still under way, or none is.
void Executor::Impl::start_step(Schedule& schedule, std::unique_lock<std::mutex>& lock) {
  const std::vector<StepItem> items = items_of(schedule);
  lock.unlock();
  const double start = now_s();
  std::string error;
  try {
    runner.start(schedule, items);
  } catch (const std::exception& e) {
    error = e.what();
  }
  lock.lock();
  if (!error.empty()) return fail_step(schedule, error);
  scheduler.launched(schedule);
  under_way.push_back({std::move(schedule), start});
}

void Executor::Impl::finish_step(std::unique_lock<std::mutex>& lock) {
  const UnderWay step = std::move(under_way.front());
  under_way.pop_front();
  lock.unlock();
  std::span<const int32_t> tokens;
  std::string error;
  try {
    tokens = runner.finish();
  } catch (const std::exception& e) {
    error = e.what();
    runner.drop();
  }
  const double end = now_s();
  lock.lock();
  ++counters.steps;
  counters.step_s += end - std::max(step.started, last_end);
  last_end = end;
  if (error.empty()) return take_tokens(step.schedule, tokens);
  fail_step(step.schedule, error);
  for (const UnderWay& next : under_way) fail_step(next.schedule, error);
  under_way.clear();
}

// Requests that have ended since are passed over.
void Executor::Impl::take_tokens(const Schedule& schedule, std::span<const int32_t> tokens) {
  std::vector<int32_t> sampled;
  std::vector<StepItem> items;
  for (const ScheduledPart& p : schedule.parts) {
    if (!p.samples) continue;
    const int32_t token = tokens[sampled.size()];
    sampled.push_back(std::max(token, 0));
    const auto it = requests.find(p.id);
    if (it == requests.end()) continue;
    StepItem item{p.id, it->second.choice.get(), &it->second.prompt};
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
  for (const ScheduledPart& p : schedule.parts)
    end(p.id, {.finish_reason = "error", .error = error});
}

void Executor::Impl::tell(StepItem& item) {
  if (!item.error.empty())
    return end(item.id, {.finish_reason = "error", .error = std::move(item.error)});
  for (OutputNews& news : item.chosen.news) {
    Request& r = requests.at(item.id);
    ExecutorEvent event{.id = item.id, .token = news.token, .logprobs = std::move(news.logprobs)};
    counters.generated_tokens += event.token.has_value();
    if (!std::exchange(r.begun, true)) {
      event.prompt_logprobs = r.prompt.take_logprobs();
      if (r.prompt.pools()) event.embedding = r.prompt.take_embedding();
      event.reused_tokens = scheduler.reused(item.id);
    }
    event.finish_reason = std::move(news.finish_reason);
    if (event.last()) return end(item.id, std::move(event));
    delivery.post(r.callback, std::move(event));
  }
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
  while (!impl_->requests.empty())
    impl_->end(impl_->requests.begin()->first, {.finish_reason = "cancelled"});
}

uint64_t Executor::enqueue(ExecutorRequest request, ExecutorCallback callback) {
  return impl_->enqueue(std::move(request), std::move(callback));
}

void Executor::cancel(uint64_t id) {
  std::lock_guard lock(impl_->mutex);
  if (!impl_->requests.contains(id)) return;
  impl_->cancelled.push_back(id);
  impl_->work.notify_one();
}

ExecutorResult Executor::await(uint64_t id) { return impl_->results.await(id); }

ExecutorStats Executor::stats() const {
  std::lock_guard lock(impl_->mutex);
  ExecutorStats s = impl_->counters;
  const SchedulerStats now = impl_->scheduler.stats();
  s.waiting = now.waiting;
  s.running = now.running;
  s.preemptions = now.preemptions;
  s.prompt_tokens = now.prompt_tokens;
  s.reused_tokens = now.reused_tokens;
  const BlockPool& pool = impl_->session.kv_pool();
  s.kv_blocks = pool.size();
  s.kv_blocks_cached = impl_->scheduler.prefixes().evictable();
  s.kv_blocks_used = pool.used_blocks() - s.kv_blocks_cached;
  return s;
}

}  // namespace tokamak
