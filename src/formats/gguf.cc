#include "formats/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "formats/gguf_reader.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

struct GgmlType {
  uint32_t id;
  std::string_view name;
  std::optional<DType> dtype;  // empty: known by name only
};
constexpr GgmlType kTypes[] = {
    {0, "F32", DType::f32},    {1, "F16", DType::f16},    {2, "Q4_0", DType::q4_0},
    {3, "Q4_1", DType::q4_1},  {6, "Q5_0", DType::q5_0},  {7, "Q5_1", DType::q5_1},
    {8, "Q8_0", DType::q8_0},  {9, "Q8_1", {}},           {10, "Q2_K", DType::q2_k},
    {11, "Q3_K", DType::q3_k}, {12, "Q4_K", DType::q4_k}, {13, "Q5_K", DType::q5_k},
    {14, "Q6_K", DType::q6_k}, {15, "Q8_K", {}},          {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},        {18, "IQ3_XXS", {}},       {19, "IQ1_S", {}},
    {20, "IQ4_NL", {}},        {21, "IQ3_S", {}},         {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},        {24, "I8", DType::i8},     {25, "I16", DType::i16},
    {26, "I32", DType::i32},   {27, "I64", DType::i64},   {28, "F64", DType::f64},
    {29, "IQ1_M", {}},         {30, "BF16", DType::bf16}, {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},         {39, "MXFP4", {}},
};

DType tensor_dtype(uint32_t id, const std::string& file, const std::string& tensor) {
  std::string known;
  for (const GgmlType& t : kTypes)
    if (t.dtype) known += (known.empty() ? "" : ", ") + std::string(t.name);
  for (const GgmlType& t : kTypes)
    if (t.id == id) {
      if (t.dtype) return *t.dtype;
      fail("'{}': tensor '{}' is in format {}, which is not supported; supported: {}", file, tensor,
           t.name, known);
    }
  fail("'{}': tensor '{}' has the unknown format number {}; supported: {}", file, tensor, id,
       known);
}

struct Placed {
  std::string name;
  TensorView view;
  uint64_t offset = 0, bytes = 0;
};

Placed read_tensor_info(GgufCursor& in, const std::string& file) {
  Placed p;
  p.name = std::string(in.text("a tensor name"));
  const auto rank = in.number<uint32_t>("a tensor rank");
  if (rank > 4) fail("'{}': tensor '{}' has {} dimensions, expected at most 4", file, p.name, rank);
  std::vector<int64_t> shape(rank);
  uint64_t elems = 1;
  for (uint32_t d = 0; d < rank; ++d) {
    const auto n = in.number<uint64_t>("a tensor size");
    if (n > (uint64_t{1} << 48) || __builtin_mul_overflow(elems, n, &elems) ||
        elems > (uint64_t{1} << 50))
      fail("'{}': tensor '{}': its shape overflows", file, p.name);
    shape[rank - 1 - d] = static_cast<int64_t>(n);
  }
  p.view.shape = Shape(std::span<const int64_t>(shape));
  p.view.dtype = tensor_dtype(in.number<uint32_t>("a tensor format"), file, p.name);
  const int block = row_step(p.view.dtype);
  const int64_t row = rank ? shape.back() : 1;
  if (row % block != 0)
    fail("'{}': tensor '{}': rows of {} elements do not divide into blocks of {} ({})", file,
         p.name, row, block, name(p.view.dtype));
  p.offset = in.number<uint64_t>("a tensor offset");
  p.bytes =
      elems / static_cast<uint64_t>(block) * static_cast<uint64_t>(info(p.view.dtype).block_bytes);
  return p;
}

// Inside the file, aligned, and no two in the same place.
void check_places(std::vector<Placed>& placed, uint64_t data_bytes, uint64_t alignment,
                  const std::string& file) {
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const Placed& p : placed) {
    if (p.offset % alignment != 0)
      fail("'{}': tensor '{}' begins at offset {}, not a multiple of the alignment {}", file,
           p.name, p.offset, alignment);
    if (p.offset > data_bytes || p.bytes > data_bytes - p.offset)
      fail("'{}': tensor '{}' needs {} bytes from offset {}, but the file has {} (truncated?)",
           file, p.name, p.bytes, p.offset, data_bytes);
    if (p.offset < end) fail("'{}': tensor '{}' overlaps another tensor", file, p.name);
    end = p.offset + p.bytes;
  }
}

// "X-00001-of-00003.gguf" → {"X", 3}; no value for other names. Later parts are refused.
std::optional<std::pair<std::string, int>> split_name(const fs::path& path) {
  const std::string stem = path.stem().string();
  constexpr size_t kTail = 15;  // "-00001-of-00003"
  if (path.extension() != ".gguf" || stem.size() <= kTail) return {};
  const std::string tail = stem.substr(stem.size() - kTail);
  const auto digits = [&](size_t at) {
    return std::all_of(tail.begin() + at, tail.begin() + at + 5,
                       [](char c) { return c >= '0' && c <= '9'; });
  };
  if (tail[0] != '-' || !digits(1) || tail.substr(6, 4) != "-of-" || !digits(10)) return {};
  if (tail.substr(1, 5) != "00001")
    fail("'{}' is part {} of a split model; give its first part", path.string(), tail.substr(1, 5));
  return std::pair(stem.substr(0, stem.size() - kTail), std::stoi(tail.substr(10)));
}

}  // namespace

GgufFile::GgufFile(const fs::path& path) : path_(path) {
  add_part(path, true);
  const auto split = split_name(path);
  if (!split) {
    if (find_int("split.count").value_or(1) > 1)
      fail("'{}' is one part of {}; keep the names NAME-00001-of-{:05}.gguf", path.string(),
           get_int("split.count"), get_int("split.count"));
    return;
  }
  for (int part = 2; part <= split->second; ++part)
    add_part(path.parent_path() /
                 fmt::format("{}-{:05}-of-{:05}.gguf", split->first, part, split->second),
             false);
  if (const auto n = find_int("split.tensors.count");
      n && *n != static_cast<int64_t>(tensors_.size()))
    fail("'{}': the parts hold {} tensors, expected {}", path.string(), tensors_.size(), *n);
}

void GgufFile::add_part(const fs::path& path, bool first) {
  files_.push_back(std::make_unique<MappedFile>(path));
  const MappedFile& file = *files_.back();
  const std::string source = path.string();
  GgufCursor in(file);
  const auto magic = in.take(4, "the magic");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) fail("'{}' is not a GGUF file", source);
  const auto version = in.number<uint32_t>("the version");
  if (version != 2 && version != 3)
    fail("'{}' is GGUF version {}{}; versions 2 and 3 are supported", source, version,
         version == 2u << 24 || version == 3u << 24 ? " (big-endian?)" : "");
  const uint64_t tensor_count = in.count(24, "the number of tensors");
  const uint64_t value_count = in.count(13, "the number of metadata values");
  uint64_t alignment = 32;
  for (uint64_t i = 0; i < value_count; ++i) {
    const size_t begin = in.at();
    const std::string key(in.text("a metadata key"));
    GgufValue value = in.value(key);
    value.raw = in.since(begin);
    if (key == "general.alignment") {
      const auto* n = std::get_if<uint64_t>(&value.value);
      if (!n || !std::has_single_bit(*n) || *n > (1u << 20))
        fail("'{}': general.alignment must be a power of two", source);
      alignment = *n;
    }
    if (first && !metadata_.emplace(key, std::move(value)).second)
      fail("'{}': metadata '{}' is given twice", source, key);
  }
  std::vector<Placed> placed;
  for (uint64_t i = 0; i < tensor_count; ++i) placed.push_back(read_tensor_info(in, source));
  const uint64_t begin = (in.at() + alignment - 1) / alignment * alignment;
  if (begin > file.size() && tensor_count > 0)
    fail("'{}' ends before its tensor data (truncated?)", source);
  check_places(placed, file.size() - std::min<uint64_t>(begin, file.size()), alignment, source);
  for (Placed& p : placed) {
    p.view.data = file.data() + begin + p.offset;
    const std::string name = p.name;
    if (!tensors_.emplace(std::move(p.name), p.view).second)
      fail("'{}': tensor '{}' is there twice", source, name);
  }
}

void GgufFile::release(std::span<const std::byte> part) const { files_.front()->release(part); }

const TensorView* GgufFile::find_tensor(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace tokamak
