#include "backend/plugin_tactic.h"

namespace tokamak {
namespace {

tokamak_operand operand(const ValueType& t, const Operand& o, const StepContext& step,
                        bool packed) {
  tokamak_operand p{};
  p.data = o.data;
  p.dtype = plugin_dtype(t.dtype);
  p.packed = packed && is_matrix_weight(t);
  p.width = t.shape.empty() ? 1 : t.shape.back().size;
  p.stride = t.is_weight || t.shape.size() < 2 ? p.width : o.row_stride;
  p.rows = 1;
  for (size_t i = 0; i + 1 < t.shape.size(); ++i)
    p.rows *= t.shape[i].resolve(step.tokens, step.logit_rows);
  return p;
}

std::string layout_name(const PluginLibrary& library, const tokamak_op& op) {
  if (op.layout == nullptr) return "plain";
  return fmt::format("plugin.{}.{}.{}", library.name(), op.name, op.layout->name);
}

bool is_matrix(DType t, const Shape& shape) {
  return shape.rank() == 2 && (t == DType::f32 || t == DType::f16 || t == DType::bf16);
}

}  // namespace

void PluginKernel::fill(const LaunchArgs& args, tokamak_operand* in, tokamak_operand* out,
                        tokamak_launch& l) const {
  for (size_t i = 0; i < s_.inputs.size(); ++i)
    in[i] = operand(s_.inputs[i], args.in[i], *args.step, packed_);
  for (size_t i = 0; i < s_.outputs.size(); ++i)
    out[i] = operand(s_.outputs[i], args.out[i], *args.step, false);
  l.in = in;
  l.out = out;
  l.inputs = static_cast<int32_t>(s_.inputs.size());
  l.outputs = static_cast<int32_t>(s_.outputs.size());
  l.tokens = args.step->tokens;
  l.sequences = args.step->logit_rows;
  l.workers = 1;
  l.scratch = args.workspace;
}

PluginTactic::PluginTactic(std::shared_ptr<const PluginLibrary> library,
                           const tokamak_op& functions, bool packed, int workers)
    : library_(std::move(library)),
      functions_(functions),
      packed_(packed),
      workers_(workers),
      name_(fmt::format("plugin.{}.{}{}", library_->name(), functions.name,
                        packed ? "." + std::string(functions.layout->name) : "")),
      layout_(packed ? layout_name(*library_, functions) : "plain") {}

bool PluginTactic::supports(const OpSignature& s) const {
  if (s.op != Op::plugin || s.attrs.get<std::string>("library") != library_->name() ||
      s.attrs.get<std::string>("op") != functions_.name)
    return false;
  if (!packed_) return true;
  bool any = false;
  for (const ValueType& t : s.inputs) {
    if (!is_matrix_weight(t)) continue;
    any = true;
    if (t.shape.size() != 2 || functions_.layout->packed_bytes(
                                   plugin_dtype(t.dtype), t.shape[0].size, t.shape[1].size) == 0)
      return false;
  }
  return any;
}

size_t PluginTactic::workspace_bytes(const OpSignature& s, int64_t tokens) const {
  return make(s)->scratch_bytes(s.inputs, tokens, tokens, workers_);
}

std::string_view PluginTactic::weight_layout(const OpSignature&, int) const { return layout_; }

double PluginTactic::estimate_us(const OpSignature& s, int64_t tokens) const {
  constexpr double kLaunchUs = 1, kPerUs = 20000;  // bytes or operations: only the order counts
  const OpCost c = cost(s, tokens, tokens, tokens);
  return kLaunchUs + (c.bytes + c.flops) / kPerUs * (packed_ ? 0.9 : 1);
}

std::shared_ptr<const PluginOp> PluginTactic::make(const OpSignature& s) const {
  auto op = std::make_shared<const PluginOp>(library_, functions_, plugin_attributes(s.attrs));
  if (op->infer(s.inputs) != s.outputs)
    fail(
        "plug-in '{}' ({} {}): op '{}' has other outputs than when the graph was made with version "
        "{}; build the engine again",
        library_->path(), library_->name(), library_->version(), functions_.name,
        s.attrs.get<std::string>("version"));
  return op;
}

PluginLayout::PluginLayout(std::shared_ptr<const PluginLibrary> library, const tokamak_op& op)
    : library_(std::move(library)), layout_(*op.layout), name_(layout_name(*library_, op)) {}

bool PluginLayout::supports(DType t, const Shape& shape) const {
  return is_matrix(t, shape) && packed_bytes(t, shape) > 0;
}

size_t PluginLayout::packed_bytes(DType t, const Shape& shape) const {
  return layout_.packed_bytes(plugin_dtype(t), shape[0], shape[1]);
}

void PluginLayout::pack(const TensorView& src, std::byte* dst, int64_t begin, int64_t end) const {
  layout_.pack(plugin_dtype(src.dtype), src.shape[0], src.shape[1], src.data, dst, begin, end);
}

void PluginLayout::unpack(DType t, const Shape& shape, const std::byte* packed,
                          std::byte* dst) const {
  layout_.unpack(plugin_dtype(t), shape[0], shape[1], packed, dst);
}

}  // namespace tokamak
