// Many pieces of device memory at once: threads write them into pinned memory, from which the
// device fetches one while the next is written.
#pragma once
#include "backend/backend.h"

namespace tokamak {

// As Backend::fill(); the pieces' memory must not be in use on the device. An exception of write()
// is rethrown here.
void upload_pieces(int device, std::span<const Backend::Piece> pieces,
                   const std::function<void(size_t piece, std::byte* to)>& write);

// fn(i) on so many threads at once, 0 being the caller; the first exception is rethrown.
void run_on_threads(int threads, const std::function<void(int)>& fn);

}  // namespace tokamak
