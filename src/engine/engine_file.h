// rank{N}.engine: header, plan as JSON, then the packed weights, page-aligned, used in place from
// the mapping. Layout (little endian):
//   0  "TOKAMAK\n"      8  u32 format version   12 u32 header bytes (64)
//   16 u64 plan bytes   24 u64 weights offset   32 u64 weights bytes
//   40 u64 file bytes   48 u64 checksum of header (this field 0) and plan   56 u64 checksum of the
//   weights
#pragma once
#include <memory>

#include "base/mapped_file.h"
#include "base/mapped_output.h"
#include "engine/plan.h"
#include "tokamak/version.h"

namespace tokamak {

inline constexpr uint32_t kEngineVersion = kEngineFormat;
inline constexpr uint64_t kPageBytes = 4096;

class EngineFile {
 public:
  // Throws one clear Error for a file that is no engine, truncated, damaged or of another version.
  static EngineFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  const Plan& plan() const { return plan_; }
  // For a session that runs the plan otherwise than it was built; weights and values stay.
  Plan& plan() { return plan_; }
  uint64_t weights_offset() const { return weights_offset_; }
  // Packed bytes of plan().weights[i]; Error where the plan has random weights.
  std::span<const std::byte> weight(size_t i) const;
  // Reads the whole section (open() does not): Error when it is not what was written.
  void verify_weights() const;
  const MappedFile& file() const { return *file_; }

 private:
  std::unique_ptr<MappedFile> file_;
  Plan plan_;
  uint64_t weights_offset_ = 0, weights_checksum_ = 0;
};

// Gives every weight its place, from its bytes: large ones on page borders, small ones on 64 bytes.
// Returns the bytes of the section.
uint64_t assign_weight_offsets(Plan& plan);

// Writes an engine: weights are packed in place, in any order. The target appears at commit().
class EngineWriter {
 public:
  EngineWriter(const std::filesystem::path& target, const Plan& plan);
  std::span<std::byte> weight(size_t i);
  void release(std::span<std::byte> part) { file_.release(part); }
  void commit();

 private:
  MappedOutput file_;
  const Plan& plan_;
  uint64_t weights_offset_ = 0;
};

}  // namespace tokamak
