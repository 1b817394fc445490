// Where models that are converted and built on the fly live.
#pragma once
#include <filesystem>

namespace tokamak {

// `given` when not empty, else $XDG_CACHE_HOME/tokamak, else ~/.cache/tokamak. Not created here.
std::filesystem::path cache_dir(const std::filesystem::path& given);

}  // namespace tokamak
