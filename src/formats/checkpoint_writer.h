// Writes one rank's file of a checkpoint: tensors are declared, then produced in pieces of rows by
// several threads, so that a model of any size takes a few megabytes of memory.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/progress.h"

namespace tokamak {

struct CheckpointTensor {
  std::string name;
  DType dtype = DType::f32;
  int64_t rows = 0, columns = 1;
  bool vector = false;  // of `rows` elements

  size_t row_bytes() const { return tokamak::row_bytes(dtype, columns); }
  size_t bytes() const { return row_bytes() * static_cast<size_t>(rows); }
};

// Makes rows; every thread has its own.
class RowProducer {
 public:
  virtual ~RowProducer() = default;
  // Rows [first, first + count) of the tensor with this index, count * row_bytes() bytes.
  virtual void produce(size_t tensor, int64_t first, int64_t count, std::byte* out) = 0;
};
using MakeRowProducer = std::function<std::unique_ptr<RowProducer>()>;

// The first error of any thread stops all and is thrown here; then there is no file.
void write_checkpoint_rank(const std::filesystem::path& path,
                           const std::vector<CheckpointTensor>& tensors,
                           const MakeRowProducer& make, int workers, Progress& progress);

// The threads that `--workers asked` stands for. Error when it is negative.
int writer_threads(int asked);

}  // namespace tokamak
