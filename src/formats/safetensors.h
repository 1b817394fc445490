// Reader and writer of .safetensors files: an 8-byte little-endian header length, a JSON header
// that maps each name to {dtype, shape, data_offsets}, then the data without holes or overlaps. A
// file that breaks any of these rules is refused with one line that names file and tensor.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/tensor.h"
#include "formats/atomic_output.h"

namespace tokamak {

using TensorMap = std::map<std::string, TensorView, std::less<>>;

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const TensorMap& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Throws Error naming the file when there is no such tensor.
  const TensorView& tensor(const std::string& name) const;
  const MappedFile& file() const { return file_; }
  void release(std::span<const std::byte> part) const { file_.release(part); }

 private:
  MappedFile file_;
  TensorMap tensors_;
  std::map<std::string, std::string> metadata_;
};

// A model directory: model.safetensors, or the shards of model.safetensors.index.json. Every tensor
// of the index must be in the shard that the index names.
class SafetensorsSet {
 public:
  explicit SafetensorsSet(const std::filesystem::path& directory);
  const TensorMap& tensors() const { return tensors_; }
  void release(std::span<const std::byte> part) const;
  // True when the directory holds something that this class reads.
  static bool present(const std::filesystem::path& directory);

 private:
  void add_file(const std::filesystem::path& path);
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  TensorMap tensors_;
};

// Writes a file whose tensors are all declared first; the data may then come in any order and from
// several threads. The file appears under its name only when finish() has seen every byte.
class SafetensorsWriter {
 public:
  struct Declared {
    std::string name;
    DType dtype = DType::f32;
    std::vector<int64_t> shape;
  };
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<Declared>& tensors,
                    const std::map<std::string, std::string>& metadata = {});
  size_t tensor_bytes(size_t index) const { return ranges_.at(index).second; }
  // Bytes [offset, offset + data.size()) of tensor `index` (the order of declaration).
  void write(size_t index, size_t offset, std::span<const std::byte> data);
  void finish();

 private:
  AtomicFile file_;
  std::vector<std::pair<size_t, size_t>> ranges_;  // file offset and bytes of each tensor
  std::atomic<size_t> written_ = 0;
  size_t total_ = 0;
};

}  // namespace tokamak
