// Steps whose tokens the device chooses and feeds to the next step: that one is planned and
// enqueued before the host has read them, so that the device never waits for the host.
#pragma once
#include <span>
#include <vector>

#include "backend/backend.h"
#include "runtime/device_choice.h"
#include "runtime/session.h"

namespace tokamak {

class StepPipeline {
 public:
  explicit StepPipeline(Session& session) : session_(session), backend_(session.backend()) {}
  ~StepPipeline();  // waits for the device

  // How many rows of choices a step can have; 0: this device does not choose.
  int64_t max_rows() const;

  struct Part {
    StepPart part;          // its last token is to come where from_row >= 0
    int32_t from_row = -1;  // of the choices of the step before
    DeviceRow row = {};     // of parts with logits; its output counts tokens to come
  };
  // Enqueues a step that one launch can do. Two may be under way. The logits are there when it is
  // finished.
  LogitRows start(std::span<const Part> parts);
  int under_way() const { return under_way_; }
  // Waits for the oldest step: a token or a ChoiceError for each part with logits, valid until the
  // second start() from here.
  std::span<const int32_t> finish();
  // After an error: waits for the device and forgets what is under way.
  void drop();

 private:
  // Of one step, in turn: what the choice needs, on its way to the device, and what comes back.
  struct Slot {
    Backend::Buffer shared, device, chosen, latest;
    int32_t rows = 0;
    std::vector<int32_t> tokens;
  };
  void size_slots(int64_t rows, int64_t vocab);
  size_t slot_bytes() const;

  Session& session_;
  Backend& backend_;
  int64_t rows_ = 0;  // capacity
  size_t workspace_bytes_ = 0;
  Backend::Buffer workspace_;
  Slot slots_[2];
  int next_ = 0, under_way_ = 0;
  std::vector<StepPart> parts_;
};

}  // namespace tokamak
