#include "convert/convert.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "convert/plan.h"
#include "convert/row_stream.h"
#include "convert/side_files.h"
#include "formats/atomic_output.h"
#include "formats/checkpoint_writer.h"

namespace tokamak {
namespace {

class Producer final : public RowProducer {
 public:
  Producer(const ModelSource& source, const std::vector<OutputTensor>& tensors)
      : rows_(source), tensors_(tensors) {}
  void produce(size_t tensor, int64_t first, int64_t count, std::byte* out) override {
    rows_.produce(tensors_[tensor], first, count, out);
  }

 private:
  RowStream rows_;
  const std::vector<OutputTensor>& tensors_;
};

}  // namespace

QuantReport convert(const ConvertOptions& options) {
  const int workers = writer_threads(options.workers);
  const ModelSource source = open_model_source(options.model);
  const ConvertPlan plan = make_plan(source, options);
  for (const std::string& w : plan.warnings) log::warning("{}", w);
  AtomicDirectory output(options.output_dir, options.overwrite);
  Progress progress("convert", static_cast<int64_t>(plan.bytes()), "B");
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const std::vector<OutputTensor>& tensors = plan.ranks[rank];
    write_checkpoint_rank(
        output.path() / fmt::format("rank{}.safetensors", rank), {tensors.begin(), tensors.end()},
        [&] { return std::make_unique<Producer>(source, tensors); }, workers, progress);
  }
  write_side_files(source, output.path());
  write_file(output.path() / "config.json", plan.config.to_json().dump(2) + "\n");
  output.commit();
  progress.finish();
  return plan.report;
}

}  // namespace tokamak
