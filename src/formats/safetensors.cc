#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit

struct NamedType {
  std::string_view name;
  DType dtype;
};
constexpr std::array kTypes = {
    NamedType{"F32", DType::f32},        NamedType{"F16", DType::f16},
    NamedType{"BF16", DType::bf16},      NamedType{"I8", DType::i8},
    NamedType{"U8", DType::u8},          NamedType{"I16", DType::i16},
    NamedType{"I32", DType::i32},        NamedType{"I64", DType::i64},
    NamedType{"F64", DType::f64},        NamedType{"BOOL", DType::boolean},
    NamedType{"F8_E4M3", DType::f8e4m3}, NamedType{"F8_E5M2", DType::f8e5m2},
};

DType dtype_of(const std::string& text, const std::string& file, const std::string& tensor) {
  std::string known;
  for (const NamedType& t : kTypes) {
    if (t.name == text) return t.dtype;
    known += (known.empty() ? "" : ", ") + std::string(t.name);
  }
  fail("'{}': tensor '{}' has dtype '{}'; supported: {}", file, tensor, text, known);
}

std::string_view type_name(DType dtype) {
  for (const NamedType& t : kTypes)
    if (t.dtype == dtype) return t.name;
  TOKAMAK_ASSERT_MSG(false, "safetensors has no dtype for {}", name(dtype));
  return {};
}

// A header nests {name: {field: [numbers]}} and no name may come twice.
Json parse_header(std::string_view text, const std::string& file) {
  std::set<std::string> names;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > 3) fail("'{}': the header nests too deeply for a safetensors file", file);
    if (event == Json::parse_event_t::key && depth == 1 &&
        !names.insert(parsed.get<std::string>()).second)
      fail("'{}': tensor '{}' is listed twice", file, parsed.get<std::string>());
    return true;
  };
  try {
    Json header = Json::parse(text, check);
    if (!header.is_object()) fail("'{}': the header is not a JSON object", file);
    return header;
  } catch (const Json::exception& e) {
    fail("'{}': the header is not valid JSON (truncated or damaged?): {}", file, e.what());
  }
}

uint64_t number(const Json& value, const std::string& file, const std::string& tensor,
                const char* field) {
  if (!value.is_number_unsigned())
    fail("'{}': tensor '{}': {} holds {}, expected a non-negative integer", file, tensor, field,
         value.dump(-1, ' ', true, Json::error_handler_t::replace));
  return value.get<uint64_t>();
}

struct Placed {
  std::string name;
  TensorView view;
  uint64_t begin = 0, end = 0;
};

const Json& field(const Json& entry, const char* key, const std::string& file,
                  const std::string& tensor, bool array) {
  const auto it = entry.find(key);
  if (it == entry.end() || (array ? !it->is_array() : !it->is_string()))
    fail("'{}': tensor '{}' has no {} '{}'", file, tensor, array ? "list" : "text", key);
  return *it;
}

Placed parse_entry(const std::string& tensor, const Json& entry, const std::string& file) {
  if (!entry.is_object()) fail("'{}': tensor '{}': its entry is not an object", file, tensor);
  Placed p;
  p.name = tensor;
  p.view.dtype =
      dtype_of(field(entry, "dtype", file, tensor, false).get<std::string>(), file, tensor);
  const Json& sizes = field(entry, "shape", file, tensor, true);
  if (sizes.size() > Shape::kMaxRank)
    fail("'{}': tensor '{}' has {} dimensions; at most {} are supported", file, tensor,
         sizes.size(), Shape::kMaxRank);
  std::vector<int64_t> shape;
  uint64_t bytes = static_cast<uint64_t>(info(p.view.dtype).block_bytes);
  for (const Json& size : sizes) {
    const uint64_t n = number(size, file, tensor, "shape");
    if (n > (uint64_t{1} << 48) || __builtin_mul_overflow(bytes, n, &bytes) || bytes > INT64_MAX)
      fail("'{}': tensor '{}': its shape overflows", file, tensor);
    shape.push_back(static_cast<int64_t>(n));
  }
  p.view.shape = Shape(std::span<const int64_t>(shape));
  const Json& offsets = field(entry, "data_offsets", file, tensor, true);
  if (offsets.size() != 2) fail("'{}': tensor '{}': data_offsets needs 2 numbers", file, tensor);
  p.begin = number(offsets[0], file, tensor, "data_offsets");
  p.end = number(offsets[1], file, tensor, "data_offsets");
  if (p.end < p.begin || p.end - p.begin != bytes)
    fail("'{}': tensor '{}': data_offsets [{}, {}] do not fit {} {}, which needs {} bytes", file,
         tensor, p.begin, p.end, name(p.view.dtype), p.view.shape.str(), bytes);
  return p;
}

// The data must be covered from its first byte to its last, each byte once.
void check_coverage(std::vector<Placed>& placed, uint64_t data_bytes, const std::string& file) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Placed& p : placed) {
    if (p.end > data_bytes)
      fail("'{}': tensor '{}' ends at byte {} of the data, but the file has {} (truncated?)", file,
           p.name, p.end, data_bytes);
    if (p.begin != at)
      fail("'{}': tensor '{}' begins at byte {} of the data, expected {}: {}", file, p.name,
           p.begin, at,
           p.begin < at ? "it overlaps the tensor before it" : "there is a hole before it");
    at = p.end;
  }
  if (at != data_bytes)
    fail("'{}': the tensors end at byte {} of the data, but the file has {}", file, at, data_bytes);
}

void parse_metadata(const Json& json, const std::string& file,
                    std::map<std::string, std::string>& out) {
  if (!json.is_object()) fail("'{}': __metadata__ is not an object", file);
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) fail("'{}': __metadata__ '{}' is not a text", file, key);
    out[key] = value.get<std::string>();
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(path) {
  const std::string file = path.string();
  uint64_t length = 0;
  std::memcpy(&length, file_.slice(0, 8, "the header length").data(), 8);
  if (length > kMaxHeader)
    fail("'{}': header length {} is over the limit of {}; not a safetensors file?", file, length,
         kMaxHeader);
  const auto text = file_.slice(8, length, "the header");
  const Json header = parse_header({reinterpret_cast<const char*>(text.data()), text.size()}, file);
  std::vector<Placed> placed;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__")
      parse_metadata(entry, file, metadata_);
    else
      placed.push_back(parse_entry(key, entry, file));
  }
  check_coverage(placed, file_.size() - 8 - length, file);
  for (Placed& p : placed) {
    p.view.data = file_.data() + 8 + length + p.begin;
    tensors_.emplace(std::move(p.name), p.view);
  }
}

const TensorView& SafetensorsFile::tensor(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) fail("'{}' has no tensor '{}'", file_.path().string(), name);
  return it->second;
}

bool SafetensorsSet::present(const fs::path& directory) {
  return fs::exists(directory / "model.safetensors") ||
         fs::exists(directory / "model.safetensors.index.json");
}

SafetensorsSet::SafetensorsSet(const fs::path& directory) {
  const fs::path index_path = directory / "model.safetensors.index.json";
  if (!fs::exists(index_path)) {
    if (!fs::exists(directory / "model.safetensors"))
      fail("'{}' holds neither model.safetensors nor model.safetensors.index.json",
           directory.string());
    add_file(directory / "model.safetensors");
    return;
  }
  const Json index = load_json(index_path);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object())
    fail("'{}' has no object 'weight_map'", index_path.string());
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string())
      fail("'{}': the shard of '{}' is not a text", index_path.string(), tensor);
    const std::string name = shard.get<std::string>();
    if (name.empty() || name != fs::path(name).filename().string() || name == "..")
      fail("'{}': shard '{}' of tensor '{}' is not a plain file name", index_path.string(), name,
           tensor);
    if (shards.insert(name).second) add_file(directory / name);
  }
  for (const auto& [tensor, shard] : map->items())
    if (!tensors_.contains(tensor))
      fail("'{}' places tensor '{}' in '{}', which does not hold it", index_path.string(), tensor,
           shard.get<std::string>());
}

void SafetensorsSet::add_file(const fs::path& path) {
  files_.push_back(std::make_unique<SafetensorsFile>(path));
  for (const auto& [name, view] : files_.back()->tensors())
    if (!tensors_.emplace(name, view).second)
      fail("'{}': tensor '{}' is also in another shard", path.string(), name);
}

void SafetensorsSet::release(std::span<const std::byte> part) const {
  if (!files_.empty()) files_.front()->release(part);  // pages know their file
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<Declared>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const Declared& t : tensors) {
    size_t bytes = static_cast<size_t>(info(t.dtype).block_bytes);
    for (int64_t n : t.shape) bytes *= static_cast<size_t>(n);
    TOKAMAK_ASSERT_MSG(!header.contains(t.name), "tensor {} declared twice", t.name);
    header[t.name] = {{"dtype", type_name(t.dtype)},
                      {"shape", t.shape},
                      {"data_offsets", {total_, total_ + bytes}}};
    ranges_.emplace_back(total_, bytes);
    total_ += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');  // data begins on a cache line
  const uint64_t length = text.size();
  file_.append(std::as_bytes(std::span(&length, 1)));
  file_.append(text);
  for (auto& range : ranges_) range.first += file_.size();
  file_.resize(file_.size() + total_);
}

void SafetensorsWriter::write(size_t index, size_t offset, std::span<const std::byte> data) {
  const auto [begin, bytes] = ranges_.at(index);
  TOKAMAK_ASSERT(offset <= bytes && data.size() <= bytes - offset);
  file_.write_at(begin + offset, data);
  written_ += data.size();
}

void SafetensorsWriter::finish() {
  TOKAMAK_ASSERT_MSG(written_ == total_, "wrote {} of {} bytes", written_.load(), total_);
  file_.commit();
}

}  // namespace tokamak
