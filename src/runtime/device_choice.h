// Tokens that a device chooses, as the host sees them.
#pragma once
#include <cstdint>

#include "backend/backend.h"

namespace tokamak {

// What the device needs to choose a request's next token.
struct DeviceRow {
  RowSampling sampling;  // without history
  int32_t output = 0;    // how many tokens the request has so far
};

// Error says what a ChoiceError means; tokens pass.
void check_choice(int32_t token, int64_t output);

// Waits until the device has put a token or a ChoiceError in place of kNotChosenYet.
int32_t wait_for_choice(Backend& backend, const int32_t& slot);

}  // namespace tokamak
