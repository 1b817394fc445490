// Users' ops as tactics, for any backend: it derives the class that launches.
#pragma once
#include "backend/tactic_registry.h"
#include "ops/plugin.h"

namespace tokamak {

// A use of a user's op, bound: run() gets its operands as the plug-in takes them.
class PluginKernel : public Kernel {
 public:
  // packed: matrix weights are in the op's layout.
  PluginKernel(std::shared_ptr<const PluginOp> op, const OpSignature& signature, bool packed)
      : op_(std::move(op)), s_(signature), packed_(packed) {}

 protected:
  // Calls run(const tokamak_launch&) for one step.
  template <typename F>
  void with_launch(const LaunchArgs& args, F run) const {
    tokamak_operand in[TOKAMAK_MAX_OPERANDS], out[TOKAMAK_MAX_OUTPUTS];
    tokamak_launch l{};
    l.struct_bytes = sizeof l;
    fill(args, in, out, l);
    run(l);
  }
  const PluginOp& op() const { return *op_; }

 private:
  void fill(const LaunchArgs& args, tokamak_operand* in, tokamak_operand* out,
            tokamak_launch& l) const;
  const std::shared_ptr<const PluginOp> op_;
  const OpSignature s_;
  const bool packed_;
};

// One op of a library; with packed weights it is a tactic of its own, so that the tuner chooses.
class PluginTactic : public Tactic {
 public:
  PluginTactic(std::shared_ptr<const PluginLibrary> library, const tokamak_op& functions,
               bool packed, int workers);
  std::string_view name() const override { return name_; }
  Op op() const override { return Op::plugin; }
  bool supports(const OpSignature& signature) const override;
  size_t workspace_bytes(const OpSignature& signature, int64_t tokens) const override;
  std::string_view weight_layout(const OpSignature& signature, int input) const override;
  double estimate_us(const OpSignature& signature, int64_t tokens) const override;

 protected:
  // Error: the library infers other outputs than the graph has.
  std::shared_ptr<const PluginOp> make(const OpSignature& signature) const;
  bool packed() const { return packed_; }

 private:
  const std::shared_ptr<const PluginLibrary> library_;
  const tokamak_op& functions_;
  const bool packed_;
  const int workers_;
  const std::string name_, layout_;
};

// The op's own layout of a matrix weight.
class PluginLayout final : public WeightLayout {
 public:
  PluginLayout(std::shared_ptr<const PluginLibrary> library, const tokamak_op& op);
  std::string_view name() const override { return name_; }
  bool supports(DType dtype, const Shape& shape) const override;
  size_t packed_bytes(DType dtype, const Shape& shape) const override;
  int64_t row_granularity() const override { return layout_.row_step; }
  void pack(const TensorView& src, std::byte* dst, int64_t row_begin,
            int64_t row_end) const override;
  void unpack(DType dtype, const Shape& shape, const std::byte* packed,
              std::byte* dst) const override;

 private:
  const std::shared_ptr<const PluginLibrary> library_;
  const tokamak_layout& layout_;
  const std::string name_;
};

// Tactics and layouts of all ops that `runs` on this backend.
template <typename T>
void add_plugin_tactics(const std::shared_ptr<const PluginLibrary>& library, int workers,
                        bool (*runs)(const tokamak_op&), TacticRegistry& registry) {
  for (const tokamak_op* op : library->ops()) {
    if (!runs(*op)) continue;
    registry.add<T>(library, *op, false, workers);
    if (op->layout == nullptr) continue;
    registry.add<T>(library, *op, true, workers);
    registry.add_layout<PluginLayout>(library, *op);
  }
}

}  // namespace tokamak
