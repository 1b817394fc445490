#include "runtime/executor/step_runner.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"

namespace tokamak {

void StepRunner::run(const Schedule& schedule, std::span<StepItem> items) {
  lay_out(schedule, items);
  for (const KvCopy& c : schedule.copies) session_.copy_kv_block(c);
  if (device_helps(items)) return run_on_device(schedule, items);
  bool pools = false;
  hidden_.alone = true;
  for (size_t i = 0; i < items.size(); ++i) {
    pools |= items[i].prompt->pools();
    hidden_.alone &= items[i].prompt->pools() || rows_[i].count == 0;
  }
  const LogitRows logits = session_.run(parts_, pools ? &hidden_ : nullptr);
  std::vector<size_t> all;
  for (size_t i = 0; i < items.size(); ++i) {
    const Rows& r = rows_[i];
    if (items[i].prompt->pools() && r.count > 0) {
      items[i].prompt->pool(
          schedule.parts[items[i].first].begin,
          std::span(hidden_.data).subspan(r.first * hidden_.columns, r.count * hidden_.columns),
          hidden_.columns);
      if (items[i].samples) items[i].chosen = items[i].choice->next({});
    } else if (items[i].samples || r.of_prompt) {
      all.push_back(i);
    }
  }
  choose(schedule, items, all, logits);
}

void StepRunner::lay_out(const Schedule& schedule, std::span<const StepItem> items) {
  parts_.clear();
  rows_.clear();
  row_count_ = 0;
  for (const StepItem& item : items) {
    Rows rows{row_count_};
    for (size_t i = item.first; i < item.first + item.parts; ++i) {
      const ScheduledPart& p = schedule.parts[i];
      const bool all = item.prompt->wants(p.begin);
      const WantLogits wanted = all || p.guesses > 0 ? WantLogits::all
                                : p.samples          ? WantLogits::last
                                                     : WantLogits::none;
      rows.of_prompt |= all;
      rows.guesses = p.tokens.last(static_cast<size_t>(p.guesses));
      rows.count +=
          wanted == WantLogits::all ? static_cast<int64_t>(p.tokens.size()) : int64_t{p.samples};
      parts_.push_back({p.tokens, p.begin, p.blocks, wanted, item.adapter});
    }
    row_count_ += rows.count;
    rows_.push_back(rows);
  }
}

// Whether there is something to gain from a device that chooses, in a step that is one launch: it
// does so for at least one request, or the host can prepare its own choices meanwhile.
bool StepRunner::device_helps(std::span<const StepItem> items) {
  if (row_count_ > device_.max_rows()) return false;
  bool any = false;
  device_rows_.clear();
  for (size_t i = 0; i < items.size(); ++i) {
    if (rows_[i].of_prompt || items[i].prompt->pools() || !rows_[i].guesses.empty()) return false;
    device_rows_.push_back(items[i].samples ? items[i].choice->on_device()
                                            : std::vector<DeviceRow>());
    any = any || !device_rows_.back().empty() || (items[i].samples && items[i].choice->prepares());
  }
  return any;
}

// The device chooses for all rows; what it chooses for the host's requests is not looked at: their
// logits are brought to the host.
void StepRunner::run_on_device(const Schedule& schedule, std::span<StepItem> items) {
  device_parts_.clear();
  for (size_t i = 0; i < items.size(); ++i)
    for (size_t k = 0, row = 0; k < items[i].parts; ++k) {
      const StepPart& part = parts_[items[i].first + k];
      const bool device = part.logits != WantLogits::none && !device_rows_[i].empty();
      device_parts_.push_back({part, -1, device ? device_rows_[i][row++] : DeviceRow{}});
    }
  const LogitRows logits = device_.start(device_parts_);
  prepare(items);
  const std::span<const int32_t> tokens = device_.finish();
  std::vector<size_t> hosts;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].samples) continue;
    const Rows& r = rows_[i];
    if (device_rows_[i].empty()) {
      bring_rows(r, logits);
      hosts.push_back(i);
      continue;
    }
    try {
      items[i].chosen = items[i].choice->take(
          tokens.subspan(static_cast<size_t>(r.first), static_cast<size_t>(r.count)));
    } catch (const std::exception& e) {
      items[i].error = e.what();
    }
  }
  choose(schedule, items, hosts, {host_rows_.data(), logits.rows, logits.vocab});
}

// While the device computes. What fails here fails again when the choice is made.
void StepRunner::prepare(std::span<StepItem> items) {
  std::vector<Choice*> waiting;
  for (const StepItem& item : items)
    if (item.samples && item.choice->prepares()) waiting.push_back(item.choice);
  std::atomic<size_t> next{0};
  const auto work = [&](int, int) {
    for (size_t n = next++; n < waiting.size(); n = next++) try {
        waiting[n]->prepare();
      } catch (const std::exception&) {
      }
  };
  if (waiting.size() <= 1)
    work(0, 1);
  else
    session_.backend().parallel(work);
}

void StepRunner::start(const Schedule& schedule, std::span<const StepItem> items) {
  for (const KvCopy& c : schedule.copies) session_.copy_kv_block(c);
  device_parts_.clear();
  for (const StepItem& item : items) {
    const ScheduledPart& p = schedule.parts[item.first];
    StepPipeline::Part part{{p.tokens, p.begin, p.blocks, WantLogits::none, item.adapter},
                            p.from_row};
    if (p.samples) {
      part.part.logits = WantLogits::last;
      part.row = {item.choice->on_device().at(0).sampling, p.made};
    }
    device_parts_.push_back(part);
  }
  device_.start(device_parts_);
}

void StepRunner::bring_rows(const Rows& rows, const LogitRows& from) {
  host_rows_.resize(std::max(host_rows_.size(), static_cast<size_t>(from.rows * from.vocab)));
  const int64_t begin = rows.first * from.vocab;
  session_.backend().copy_out(reinterpret_cast<std::byte*>(host_rows_.data() + begin),
                              reinterpret_cast<const std::byte*>(from.data + begin),
                              static_cast<size_t>(rows.count * from.vocab) * sizeof(float));
}

// Chooses token after token while the guesses were right.
Chosen StepRunner::follow(Choice& choice, std::span<const int32_t> guesses,
                          const LogitRows& logits) {
  Chosen all;
  for (size_t i = 0;; ++i) {
    Chosen one = choice.next({logits.row(static_cast<int64_t>(i)).data(), 1, logits.vocab});
    std::ranges::move(one.news, std::back_inserter(all.news));
    if (one.next.empty()) {
      all.next.clear();
      return all;
    }
    all.next.push_back(one.next[0]);
    if (i == guesses.size() || one.next[0].token != guesses[i]) return all;
  }
}

// Requests are shared out over the workers: a request's choice depends on itself alone.
void StepRunner::choose(const Schedule& schedule, std::span<StepItem> items,
                        std::span<const size_t> which, const LogitRows& logits) {
  std::atomic<size_t> next{0};
  const auto work = [&](int, int) {
    for (size_t n = next++; n < which.size(); n = next++) {
      StepItem& item = items[which[n]];
      const Rows& r = rows_[which[n]];
      const LogitRows mine{logits.data + r.first * logits.vocab, r.count, logits.vocab};
      try {
        if (r.of_prompt) item.prompt->add(schedule.parts[item.first].begin, mine);
        if (item.samples)
          item.chosen =
              !r.guesses.empty()
                  ? follow(*item.choice, r.guesses, mine)
                  : item.choice->next(r.of_prompt
                                          ? LogitRows{mine.row(r.count - 1).data(), 1, logits.vocab}
                                          : mine);
      } catch (const std::exception& e) {
        item.error = e.what();
      }
    }
  };
  if (which.size() <= 1)
    work(0, 1);
  else
    session_.backend().parallel(work);
}

}  // namespace tokamak
