#include "backend/cuda/attention/attention_arg.h"

#include "backend/rope_tables.h"

namespace tokamak {

RopeOnDevice::RopeOnDevice(const RopeAttrs& a) {
  const RopeTables tables(a);
  table_ = DeviceArray<float>(tables.base().inv_freq);
  long_table_ = DeviceArray<float>(tables.beyond().inv_freq);
  arg_.head_dim = static_cast<int>(a.head_dim);
  arg_.rotary_dim = static_cast<int>(a.rotary_dim);
  arg_.neox = a.neox;
  arg_.table = table_.data();
  arg_.magnitude = tables.base().magnitude;
  arg_.long_table = long_table_.data();
  arg_.long_magnitude = tables.beyond().magnitude;
  arg_.long_from = a.scaling.original_max_position;
  arg_.dynamic = a.scaling.kind == "dynamic";
  arg_.theta = a.theta;
  arg_.factor = a.scaling.factor;
  arg_.max_position = a.max_position;
}

BoundAttention::BoundAttention(const OpSignature& s) : s_(s), a_(AttentionAttrs::from(s.attrs)) {
  if (a_.has_rope) rope_ = std::make_unique<RopeOnDevice>(a_.rope);
}

cuda::AttentionArg BoundAttention::arg(const LaunchArgs& args) const {
  const StepContext& step = *args.step;
  const auto in = [&](size_t i) { return rows_arg(s_.inputs[i], args.in[i], step); };
  cuda::AttentionArg a;
  a.q = in(0);
  a.k = in(1);
  a.v = in(2);
  a.positions = args.in[3].as<const int32_t>();
  if (a_.qk_norm) {
    a.q_weight = in(4);
    a.k_weight = in(5);
  }
  a.y = rows_arg(s_.outputs[0], args.out[0], step);
  a.heads = static_cast<int>(a_.heads);
  a.kv_heads = static_cast<int>(a_.kv_heads);
  a.head_dim = static_cast<int>(a_.head_dim);
  a.scale = static_cast<float>(a_.scale);
  a.softcap = static_cast<float>(a_.softcap);
  a.window = a_.window;
  a.alibi = a_.alibi ? static_cast<int>(alibi_row(a_.heads)) : 0;
  a.qk_norm = a_.qk_norm;
  a.qk_eps = static_cast<float>(a_.qk_norm_eps);
  a.has_rope = a_.has_rope;
  if (rope_) a.rope = rope_->arg();
  a.kv_dtype = step.kv.dtype;
  a.block_size = step.kv.block_size;
  const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
  a.k_cache = reinterpret_cast<uint8_t*>(layer.k);
  a.v_cache = reinterpret_cast<uint8_t*>(layer.v);
  a.k_scale = layer.k_scale;
  a.v_scale = layer.v_scale;
  return a;
}

}  // namespace tokamak
