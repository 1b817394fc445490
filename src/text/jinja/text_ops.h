// Operations of Python's str that filters and methods share. Texts are valid UTF-8.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace tokamak::jinja {

enum class Sides : uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };

// Removes white space, or any of `chars`, from the ends.
std::string_view strip(std::string_view text, Sides sides);
std::string_view strip(std::string_view text, Sides sides, std::string_view chars);
std::string replace(Heap& heap, std::string_view text, std::string_view from, std::string_view to,
                    int64_t count);
// Lines without their ends (all line boundaries that Python knows).
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);
// width in code points; fill is one code point.
std::string pad(Heap& heap, std::string_view text, int64_t width, std::string_view fill,
                char align);
Value strings_to_list(Heap& heap, const std::vector<std::string_view>& parts);

}  // namespace tokamak::jinja
