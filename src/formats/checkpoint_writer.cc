#include "formats/checkpoint_writer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "formats/checkpoint_format.h"
#include "formats/safetensors.h"

namespace tokamak {
namespace {

constexpr size_t kChunkBytes = size_t{2} << 20;    // of output, per thread
constexpr int64_t kChunkElems = int64_t{2} << 20;  // however few bytes they become

SafetensorsWriter open_rank(const std::filesystem::path& path,
                            const std::vector<CheckpointTensor>& tensors) {
  std::vector<SafetensorsWriter::Declared> declared;
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {kCheckpointFormatKey, kCheckpointFormat}};
  for (const CheckpointTensor& t : tensors) {
    if (is_block_format(t.dtype)) {
      declared.push_back({t.name, DType::u8, {t.rows, static_cast<int64_t>(t.row_bytes())}});
      metadata[kBlockKey + t.name] = describe_block_tensor(t.dtype, Shape{t.rows, t.columns});
    } else {
      declared.push_back(
          {t.name, t.dtype,
           t.vector ? std::vector<int64_t>{t.rows} : std::vector<int64_t>{t.rows, t.columns}});
    }
  }
  return SafetensorsWriter(path, declared, metadata);
}

struct Chunk {
  size_t tensor;
  int64_t first, rows;
};

std::vector<Chunk> chunks_of(const std::vector<CheckpointTensor>& tensors) {
  std::vector<Chunk> out;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t row = std::max<size_t>(1, tensors[i].row_bytes());
    const auto fit = std::min<int64_t>(static_cast<int64_t>(kChunkBytes / row),
                                       kChunkElems / std::max<int64_t>(1, tensors[i].columns));
    const int64_t rows = std::max<int64_t>(1, fit);
    for (int64_t at = 0; at < tensors[i].rows; at += rows)
      out.push_back({i, at, std::min(rows, tensors[i].rows - at)});
  }
  return out;
}

// Chunks go to threads in order.
class RankWriter {
 public:
  RankWriter(const std::vector<CheckpointTensor>& tensors, const MakeRowProducer& make,
             SafetensorsWriter& writer, Progress& progress)
      : tensors_(tensors),
        make_(make),
        writer_(writer),
        progress_(progress),
        chunks_(chunks_of(tensors)) {}

  void run(int workers) {
    std::vector<std::jthread> threads;
    for (int i = 1; i < workers; ++i) threads.emplace_back([this] { work(); });
    work();
    threads.clear();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void work() {
    try {
      const std::unique_ptr<RowProducer> rows = make_();
      std::vector<std::byte> buffer;
      for (size_t i; !stop_ && (i = next_++) < chunks_.size();)
        write_chunk(chunks_[i], *rows, buffer);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      if (!error_) error_ = std::current_exception();
    }
  }

  void write_chunk(const Chunk& c, RowProducer& rows, std::vector<std::byte>& buffer) {
    throw_if_interrupted();
    const CheckpointTensor& t = tensors_[c.tensor];
    buffer.resize(t.row_bytes() * static_cast<size_t>(c.rows));
    rows.produce(c.tensor, c.first, c.rows, buffer.data());
    writer_.write(c.tensor, t.row_bytes() * static_cast<size_t>(c.first), buffer);
    const std::lock_guard lock(mutex_);
    progress_.add(static_cast<int64_t>(buffer.size()), t.name);
  }

  const std::vector<CheckpointTensor>& tensors_;
  const MakeRowProducer& make_;
  SafetensorsWriter& writer_;
  Progress& progress_;
  const std::vector<Chunk> chunks_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace

void write_checkpoint_rank(const std::filesystem::path& path,
                           const std::vector<CheckpointTensor>& tensors,
                           const MakeRowProducer& make, int workers, Progress& progress) {
  SafetensorsWriter writer = open_rank(path, tensors);
  RankWriter(tensors, make, writer, progress).run(workers);
  writer.finish();
}

int writer_threads(int asked) {
  if (asked < 0) fail("--workers is {}, expected 1 or more (0: one per core)", asked);
  if (asked > 0) return std::min(asked, 256);
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 8u));
}

}  // namespace tokamak
