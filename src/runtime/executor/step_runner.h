// Runs what the scheduler wants of one step: the model over all parts, then each request's choice,
// on the device where it can choose, else on the host's workers.
#pragma once
#include <string>
#include <vector>

#include "runtime/executor/choice.h"
#include "runtime/executor/prompt_notes.h"
#include "runtime/scheduler/scheduler.h"
#include "runtime/session.h"
#include "runtime/step_pipeline.h"

namespace tokamak {

// A request's share of a step: parts[first, first + parts) of the schedule.
struct StepItem {
  RequestId id = 0;
  Choice* choice = nullptr;
  PromptNotes* prompt = nullptr;
  size_t first = 0, parts = 1;
  bool samples = false;  // its sequences have logits to choose from
  int32_t adapter = -1;  // of the session's
  // What comes of it.
  Chosen chosen = {};
  std::string error = {};  // of this request alone
};

class StepRunner {
 public:
  explicit StepRunner(Session& session) : session_(session), device_(session) {}
  // Error: the step failed as a whole.
  void run(const Schedule& schedule, std::span<StepItem> items);

  // Steps whose tokens the device alone chooses can be started before the last one has ended; not
  // beside run().
  bool runs_ahead() const { return device_.max_rows() > 0; }
  // Each sampling item has one sequence, and its choice one row for the device.
  void start(const Schedule& schedule, std::span<const StepItem> items);
  // Waits for the oldest: the tokens (or ChoiceErrors) of its sampling items, until the next call.
  std::span<const int32_t> finish() { return device_.finish(); }
  void drop() { device_.drop(); }

 private:
  struct Rows {  // of an item, in the step's logits
    int64_t first = 0, count = 0;
    bool of_prompt = false;
    std::span<const int32_t> guesses = {};
  };
  void lay_out(const Schedule& schedule, std::span<const StepItem> items);
  bool device_helps(std::span<const StepItem> items);
  void run_on_device(const Schedule& schedule, std::span<StepItem> items);
  static Chosen follow(Choice& choice, std::span<const int32_t> guesses, const LogitRows& logits);
  void bring_rows(const Rows& rows, const LogitRows& from);
  void prepare(std::span<StepItem> items);
  void choose(const Schedule& schedule, std::span<StepItem> items, std::span<const size_t> which,
              const LogitRows& logits);

  Session& session_;
  StepPipeline device_;
  // Of the step that runs.
  std::vector<StepPart> parts_;
  std::vector<StepPipeline::Part> device_parts_;
  std::vector<Rows> rows_;  // per item
  int64_t row_count_ = 0;
  HiddenRows hidden_;                                // where a request pools them
  std::vector<std::vector<DeviceRow>> device_rows_;  // per item; none: the host chooses
  std::vector<float> host_rows_;  // [rows][vocab]: those that the host chooses from
};

}  // namespace tokamak
