// One tiny computation per feature, compiled for that feature: true when its result is right. They
// fault where the feature is missing, so only isa.cc calls them, under its guard.
#pragma once

namespace tokamak::isa_probe {

bool avx2();
bool avx512();
bool avx512_vnni();
bool avx512_bf16();
bool amx();  // needs the process's permission for tile data

}  // namespace tokamak::isa_probe
