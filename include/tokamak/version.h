// The version of this build. Engines carry kEngineFormat; another one asks for a rebuild.
#pragma once

namespace tokamak {

inline constexpr const char* kVersion = "0.1.0";
inline constexpr int kEngineFormat = 1;
// Part of every timing-cache key: raise it when kernels change speed.
inline constexpr int kKernelVersion = 1;

}  // namespace tokamak
