#include "tokamak/executor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "runtime/device_chooser.h"
#include "runtime/sampler.h"
#include "runtime/scheduler/scheduler.h"
#include "runtime/session.h"

namespace tokamak {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

SchedulerOptions scheduler_options(const ExecutorOptions& o, const Session& session) {
  SchedulerOptions s;
  s.max_num_tokens = o.max_num_tokens > 0 ? std::min(o.max_num_tokens, session.max_num_tokens())
                                          : session.max_num_tokens();
  s.max_batch_size =
      o.max_batch_size > 0 ? o.max_batch_size : session.config().limits.max_batch_size;
  s.max_batch_size = std::min(s.max_batch_size, s.max_num_tokens);
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

bool stops(const SamplingParams& p, int32_t token) {
  return !p.ignore_eos && std::ranges::find(p.stop_token_ids, token) != p.stop_token_ids.end();
}

}  // namespace

// Threads: callers (enqueue, cancel), the step loop, and one that delivers events. `mutex_` guards
// the scheduler and the requests; steps run without it.
struct Executor::Impl {
  Impl(Session& session, const ExecutorOptions& options)
      : session(session),
        chooser(session.backend()),
        scheduler(make_scheduler(scheduler_options(options, session), session)),
        stepper([this] { step_loop(); }),
        deliverer([this] { deliver_loop(); }) {}

  struct Running {
    std::unique_ptr<Sampler> sampler;
    SamplingParams params;
    ExecutorCallback callback;
    std::optional<RowSampling> on_device;  // when the device can choose its tokens
    int32_t made = 0;
    int prompt_logprobs = -1;
    std::vector<int32_t> prompt;                // when these are asked for
    std::vector<TokenLogprobs> of_prompt = {};  // [prompt - 1]
  };
  struct Delivery {
    ExecutorCallback callback;
    ExecutorEvent event;
  };
  struct Choice {  // of one part
    Running* request = nullptr;
    int32_t token = 0;
    int64_t row = 0;  // of the logits that it is chosen from
    std::string error;
  };

  uint64_t enqueue(ExecutorRequest r, ExecutorCallback callback);
  void step_loop();
  void deliver_loop();
  void run_step(Schedule& schedule, std::unique_lock<std::mutex>& lock);
  bool device_chooses(const Schedule& schedule, std::span<const Choice> choices) const;
  void run_on_device(std::span<const StepPart> parts, const Schedule& schedule,
                     std::vector<Choice>& choices);
  void choose(const Schedule& schedule, const LogitRows& logits, std::vector<Choice>& choices);
  static bool wants_prompt_logprobs(const Running& r, const ScheduledPart& p);
  void note_prompt_logprobs(const ScheduledPart& p, const LogitRows& logits, Choice& c);
  void take(uint64_t id, Choice& c);
  void end(uint64_t id, ExecutorEvent event);
  void drop_cancelled();
  void emit(const Running& r, ExecutorEvent event);

  Session& session;
  DeviceChooser chooser;
  mutable std::mutex mutex;
  std::condition_variable work;
  bool stopping = false;
  Scheduler scheduler;
  std::map<uint64_t, Running> requests;
  std::vector<uint64_t> cancelled;
  ExecutorStats counters;

  std::mutex events_mutex;
  std::condition_variable events_ready;
  std::deque<Delivery> events;
  bool events_end = false;

  std::mutex results_mutex;
  std::condition_variable results_ready;
  std::map<uint64_t, ExecutorResult> results;

  std::jthread stepper, deliverer;
};

uint64_t Executor::Impl::enqueue(ExecutorRequest r, ExecutorCallback callback) {
  r.params.validate();
  Running running;
  running.params = r.params;
  running.sampler = std::make_unique<Sampler>(r.params, session.vocab_size(), r.tokens);
  running.on_device = running.sampler->on_device();
  if (running.on_device && needs_history(*running.on_device)) running.on_device.reset();
  running.prompt_logprobs = r.prompt_logprobs;
  if (r.prompt_logprobs >= 0) running.prompt = r.tokens;
  SchedulerRequest s{std::move(r.tokens), r.params.max_tokens, r.priority, r.cache_salt, {}};
  s.whole_prompt = r.prompt_logprobs >= 0;
  if (r.timeout_s) s.deadline = now_s() + *r.timeout_s;
  std::lock_guard lock(mutex);
  const uint64_t id = scheduler.add(std::move(s));
  if (callback) {
    running.callback = std::move(callback);
  } else {
    {
      std::lock_guard results_lock(results_mutex);
      results[id] = {};
    }
    running.callback = [this](const ExecutorEvent& e) {
      std::lock_guard results_lock(results_mutex);
      const auto it = results.find(e.id);
      if (it == results.end()) return;
      if (e.token) it->second.tokens.push_back(*e.token);
      if (e.logprobs) it->second.logprobs.push_back(*e.logprobs);
      if (!e.prompt_logprobs.empty()) it->second.prompt_logprobs = e.prompt_logprobs;
      if (it->second.tokens.size() == 1) it->second.reused_tokens = e.reused_tokens;
      it->second.error = e.error;
      it->second.finish_reason = e.finish_reason;
      if (e.last()) results_ready.notify_all();
    };
  }
  requests.emplace(id, std::move(running));
  work.notify_one();
  return id;
}

void Executor::Impl::emit(const Running& r, ExecutorEvent event) {
  {
    std::lock_guard lock(events_mutex);
    events.push_back({r.callback, std::move(event)});
  }
  events_ready.notify_one();
}

void Executor::Impl::end(uint64_t id, ExecutorEvent event) {
  const auto it = requests.find(id);
  if (it == requests.end()) return;
  if (event.finish_reason == "error" || event.finish_reason == "timeout")
    ++counters.failed;
  else if (event.finish_reason == "cancelled")
    ++counters.cancelled;
  else
    ++counters.finished;
  scheduler.remove(id);
  event.id = id;
  emit(it->second, std::move(event));
  requests.erase(it);
}

void Executor::Impl::drop_cancelled() {
  for (const uint64_t id : cancelled) end(id, {.finish_reason = "cancelled"});
  cancelled.clear();
}

void Executor::Impl::step_loop() {
  std::unique_lock lock(mutex);
  while (true) {
    work.wait(lock, [this] { return stopping || !requests.empty(); });
    if (stopping) return;
    const double start = now_s();
    drop_cancelled();
    Schedule schedule = scheduler.next(start);
    for (const uint64_t id : schedule.expired) end(id, {.finish_reason = "timeout"});
    if (!schedule.parts.empty()) run_step(schedule, lock);
    counters.busy_s += now_s() - start;
  }
}

// A step that fails fails its requests alone.
void Executor::Impl::run_step(Schedule& schedule, std::unique_lock<std::mutex>& lock) {
  std::vector<StepPart> parts;
  std::vector<Choice> choices(schedule.parts.size());
  int64_t rows = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const ScheduledPart& p = schedule.parts[i];
    choices[i].request = &requests.at(p.id);  // only this thread takes them away
    const bool all = wants_prompt_logprobs(*choices[i].request, p);
    parts.push_back({p.tokens, p.begin, p.blocks,
                     all         ? WantLogits::all
                     : p.samples ? WantLogits::last
                                 : WantLogits::none});
    rows += all ? static_cast<int64_t>(p.tokens.size()) : p.samples;
    choices[i].row = rows - 1;
  }
  lock.unlock();
  const double start = now_s();
  std::string error;
  try {
    for (const auto& [from, to] : schedule.copies) session.copy_kv_block(from, to);
    if (device_chooses(schedule, choices))
      run_on_device(parts, schedule, choices);
    else
      choose(schedule, session.run(parts), choices);
  } catch (const std::exception& e) {
    error = e.what();
    log::error("a step with {} requests failed: {}", parts.size(), error);
  }
  const double took = now_s() - start;
  lock.lock();
  ++counters.steps;
  counters.step_s += took;
  if (!error.empty()) {
    for (const ScheduledPart& p : schedule.parts)
      end(p.id, {.finish_reason = "error", .error = error});
    return;
  }
  std::vector<int32_t> sampled;
  for (size_t i = 0; i < choices.size(); ++i)
    if (schedule.parts[i].samples) sampled.push_back(choices[i].token);
  scheduler.done(schedule, sampled);
  for (size_t i = 0; i < choices.size(); ++i)
    if (schedule.parts[i].samples || !choices[i].error.empty())
      take(schedule.parts[i].id, choices[i]);
}

// All of them or none: logits that the host needs are brought there for every row.
bool Executor::Impl::device_chooses(const Schedule& schedule,
                                    std::span<const Choice> choices) const {
  if (!session.backend().sampler() || session.is_observed()) return false;
  int64_t rows = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (wants_prompt_logprobs(*choices[i].request, schedule.parts[i])) return false;
    if (!schedule.parts[i].samples) continue;
    if (!choices[i].request->on_device) return false;
    ++rows;
  }
  return rows > 0 && rows <= session.max_logit_rows();
}

void Executor::Impl::run_on_device(std::span<const StepPart> parts, const Schedule& schedule,
                                   std::vector<Choice>& choices) {
  std::vector<DeviceChooser::Row> rows;
  for (size_t i = 0; i < choices.size(); ++i)
    if (schedule.parts[i].samples)
      rows.push_back({*choices[i].request->on_device, choices[i].request->made});
  chooser.prepare(rows, session.vocab_size());
  const std::span<const int32_t> tokens = chooser.choose(session.enqueue(parts).data);
  for (size_t i = 0, row = 0; i < choices.size(); ++i) {
    if (!schedule.parts[i].samples) continue;
    choices[i].token = tokens[row++];
    try {
      check_choice(choices[i].token, choices[i].request->made);
      choices[i].request->sampler->take(choices[i].token);
    } catch (const Error& e) {
      choices[i].error = e.what();
    }
  }
}

// Whether a part works on tokens of the prompt that others follow.
bool Executor::Impl::wants_prompt_logprobs(const Running& r, const ScheduledPart& p) {
  return r.prompt_logprobs >= 0 && r.made == 0 &&
         p.begin + 1 < static_cast<int64_t>(r.prompt.size());
}

// A request that gave way computes its prompt again: what is known already is left as it is.
void Executor::Impl::note_prompt_logprobs(const ScheduledPart& p, const LogitRows& logits,
                                          Choice& c) {
  Running& r = *c.request;
  const int64_t first_row = c.row + 1 - static_cast<int64_t>(p.tokens.size());
  for (size_t k = 0; k < p.tokens.size(); ++k) {
    const size_t next = static_cast<size_t>(p.begin) + k + 1;
    if (next >= r.prompt.size() || r.of_prompt.size() >= next) continue;
    r.of_prompt.push_back(logprobs_of(logits.row(first_row + static_cast<int64_t>(k)),
                                      r.prompt[next], r.prompt_logprobs));
  }
}

// Rows of logits are shared out over the workers: a request's choice depends on itself alone.
void Executor::Impl::choose(const Schedule& schedule, const LogitRows& logits,
                            std::vector<Choice>& choices) {
  std::vector<size_t> wanted;
  for (size_t i = 0; i < choices.size(); ++i)
    if (schedule.parts[i].samples || wants_prompt_logprobs(*choices[i].request, schedule.parts[i]))
      wanted.push_back(i);
  std::atomic<size_t> next{0};
  const auto work = [&](int, int) {
    for (size_t n = next++; n < wanted.size(); n = next++) {
      const ScheduledPart& p = schedule.parts[wanted[n]];
      Choice& c = choices[wanted[n]];
      try {
        if (wants_prompt_logprobs(*c.request, p)) note_prompt_logprobs(p, logits, c);
        if (p.samples) c.token = c.request->sampler->next(logits.row(c.row));
      } catch (const std::exception& e) {
        c.error = e.what();
      }
    }
  };
  if (wanted.size() == 1)
    work(0, 1);
  else
    session.backend().parallel(work);
}

void Executor::Impl::take(uint64_t id, Choice& c) {
  if (!c.error.empty()) return end(id, {.finish_reason = "error", .error = std::move(c.error)});
  ++counters.generated_tokens;
  ++c.request->made;
  ExecutorEvent event{.id = id, .token = c.token, .logprobs = c.request->sampler->logprobs()};
  if (c.request->made == 1) {
    event.prompt_logprobs = std::exchange(c.request->of_prompt, {});
    event.reused_tokens = scheduler.reused(id);
  }
  if (stops(c.request->params, c.token))
    event.finish_reason = "stop";
  else if (scheduler.finished(id))
    event.finish_reason = "length";
  else
    return emit(*c.request, std::move(event));
  end(id, std::move(event));
}

void Executor::Impl::deliver_loop() {
  std::unique_lock lock(events_mutex);
  while (true) {
    events_ready.wait(lock, [this] { return events_end || !events.empty(); });
    if (events.empty()) return;
    std::deque<Delivery> batch = std::exchange(events, {});
    lock.unlock();
    for (const Delivery& d : batch) {
      try {
        d.callback(d.event);
      } catch (const std::exception& e) {
        log::error("a callback of request {} failed: {}", d.event.id, e.what());
      }
    }
    lock.lock();
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
  {
    std::lock_guard lock(impl_->events_mutex);
    impl_->events_end = true;
  }
  impl_->events_ready.notify_all();
  impl_->deliverer.join();
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

ExecutorResult Executor::await(uint64_t id) {
  std::unique_lock lock(impl_->results_mutex);
  const auto it = impl_->results.find(id);
  if (it == impl_->results.end()) fail("there is no request {} to wait for", id);
  impl_->results_ready.wait(lock, [&] { return !it->second.finish_reason.empty(); });
  ExecutorResult r = std::move(it->second);
  impl_->results.erase(it);
  return r;
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
  const BlockPool& pool = impl_->session.kv_pool();
  s.kv_blocks = pool.size();
  s.kv_blocks_cached = impl_->scheduler.prefixes().evictable();
  s.kv_blocks_used = pool.used_blocks() - s.kv_blocks_cached;
  return s;
}

}  // namespace tokamak
