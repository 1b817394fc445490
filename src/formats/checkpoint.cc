#include "formats/checkpoint.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "base/json.h"
#include "formats/checkpoint_format.h"

#include <nlohmann/json.hpp>

namespace tokamak {
namespace {

namespace fs = std::filesystem;

}  // namespace

std::string describe_block_tensor(DType dtype, const Shape& shape) {
  TOKAMAK_ASSERT(shape.rank() == 2);
  return fmt::format("{} {} {}", name(dtype), shape[0], shape[1]);
}

TensorView logical_view(const TensorView& stored, const std::string& record,
                        const std::string& name, const std::string& file) {
  char format[16] = {};
  long long rows = 0, columns = 0;
  int used = 0;
  if (std::sscanf(record.c_str(), "%15s %19lld %19lld%n", format, &rows, &columns, &used) != 3 ||
      static_cast<size_t>(used) != record.size())
    fail("'{}': the record of tensor '{}' is '{}', expected DTYPE ROWS COLUMNS", file, name,
         record);
  const DType dtype = parse_dtype(format);
  if (!is_block_format(dtype))
    fail("'{}': the record of tensor '{}' names {}, which is no block format", file, name, format);
  constexpr long long kMost = 1LL << 40;
  if (rows < 0 || columns < 1 || rows > kMost || columns > kMost || !fits_row(dtype, columns) ||
      stored.dtype != DType::u8 || stored.shape.rank() != 2 || stored.shape[0] != rows ||
      static_cast<size_t>(stored.shape[1]) != row_bytes(dtype, columns))
    fail("'{}': tensor '{}' is stored as {} {}, which does not fit its record '{}'", file, name,
         tokamak::name(stored.dtype), stored.shape.str(), record);
  return {dtype, Shape{rows, columns}, stored.data};
}

Checkpoint Checkpoint::open(const fs::path& directory, int rank) {
  Checkpoint c;
  c.directory_ = directory;
  const fs::path config = directory / "config.json";
  if (!fs::exists(config))
    fail("'{}' is not a checkpoint: it has no config.json", directory.string());
  if (!fs::exists(directory / "rank0.safetensors"))
    fail("'{}' is not a checkpoint: it has no rank0.safetensors; make one with tokamak convert",
         directory.string());
  c.config_ = ModelConfig::from_json(load_json(config), config.string());
  const int ranks = c.config_.mapping.world_size();
  if (rank < 0 || rank >= ranks)
    fail("'{}': rank {} asked for, but the checkpoint has {} (tp_size {} x pp_size {})",
         directory.string(), rank, ranks, c.config_.mapping.tp_size, c.config_.mapping.pp_size);
  const fs::path path = directory / fmt::format("rank{}.safetensors", rank);
  if (!fs::exists(path)) fail("'{}' has no {}", directory.string(), path.filename().string());
  c.file_ = std::make_shared<SafetensorsFile>(path);
  for (const auto& [name, stored] : c.file_->tensors()) {
    const auto record = c.file_->metadata().find(kBlockKey + name);
    c.tensors_[name] = record == c.file_->metadata().end()
                           ? stored
                           : logical_view(stored, record->second, name, path.string());
  }
  for (const auto& [key, record] : c.file_->metadata())
    if (key.starts_with(kBlockKey) && !c.has(key.substr(std::string_view(kBlockKey).size())))
      fail("'{}' records '{}', but has no such tensor", path.string(), key);
  return c;
}

bool Checkpoint::has(const std::string& name) const { return tensors_.contains(name); }

TensorView Checkpoint::tensor(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) fail("'{}' has no tensor '{}'", file_->file().path().string(), name);
  return it->second;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> out;
  for (const auto& [name, view] : tensors_) out.push_back(name);
  return out;
}

void Checkpoint::release(const TensorView& tensor) const {
  file_->release({tensor.data, tensor.bytes()});
}

}  // namespace tokamak
