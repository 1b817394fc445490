#include "convert/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "convert/plan.h"
#include "convert/row_stream.h"
#include "convert/side_files.h"
#include "formats/atomic_output.h"
#include "formats/checkpoint_format.h"
#include "formats/safetensors.h"

namespace tokamak {
namespace {

constexpr size_t kChunkBytes = size_t{2} << 20;  // of output, per thread

SafetensorsWriter open_rank(const std::filesystem::path& path,
                            const std::vector<OutputTensor>& tensors) {
  std::vector<SafetensorsWriter::Declared> declared;
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {kCheckpointFormatKey, kCheckpointFormat}};
  for (const OutputTensor& t : tensors) {
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

std::vector<Chunk> chunks_of(const std::vector<OutputTensor>& tensors) {
  std::vector<Chunk> out;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t row = std::max<size_t>(1, tensors[i].row_bytes());
    const int64_t rows = static_cast<int64_t>(std::max<size_t>(1, kChunkBytes / row));
    for (int64_t at = 0; at < tensors[i].rows; at += rows)
      out.push_back({i, at, std::min(rows, tensors[i].rows - at)});
  }
  return out;
}

// Chunks go to threads in order; the first error stops all and is thrown here.
class RankWriter {
 public:
  RankWriter(const ModelSource& source, const std::vector<OutputTensor>& tensors,
             SafetensorsWriter& writer, Progress& progress)
      : source_(source),
        tensors_(tensors),
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
      RowStream rows(source_);
      std::vector<std::byte> buffer;
      for (size_t i; !stop_ && (i = next_++) < chunks_.size();)
        write_chunk(chunks_[i], rows, buffer);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      if (!error_) error_ = std::current_exception();
    }
  }

  void write_chunk(const Chunk& c, RowStream& rows, std::vector<std::byte>& buffer) {
    throw_if_interrupted();
    const OutputTensor& t = tensors_[c.tensor];
    buffer.resize(t.row_bytes() * static_cast<size_t>(c.rows));
    rows.produce(t, c.first, c.rows, buffer.data());
    writer_.write(c.tensor, t.row_bytes() * static_cast<size_t>(c.first), buffer);
    const std::lock_guard lock(mutex_);
    progress_.add(static_cast<int64_t>(buffer.size()), t.name);
  }

  const ModelSource& source_;
  const std::vector<OutputTensor>& tensors_;
  SafetensorsWriter& writer_;
  Progress& progress_;
  const std::vector<Chunk> chunks_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::exception_ptr error_;
};

int worker_count(int asked) {
  if (asked < 0) fail("--workers is {}, expected 1 or more (0: one per core)", asked);
  if (asked > 0) return std::min(asked, 256);
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 8u));
}

}  // namespace

void convert(const ConvertOptions& options) {
  const int workers = worker_count(options.workers);
  const ModelSource source = open_model_source(options.model);
  const ConvertPlan plan = make_plan(source, options);
  for (const std::string& w : plan.warnings) log::warning("{}", w);
  AtomicDirectory output(options.output_dir, options.overwrite);
  Progress progress("convert", static_cast<int64_t>(plan.bytes()), "B");
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    SafetensorsWriter writer =
        open_rank(output.path() / fmt::format("rank{}.safetensors", rank), plan.ranks[rank]);
    RankWriter(source, plan.ranks[rank], writer, progress).run(workers);
    writer.finish();
  }
  write_side_files(source, output.path());
  write_file(output.path() / "config.json", plan.config.to_json().dump(2) + "\n");
  output.commit();
  progress.finish();
}

}  // namespace tokamak
