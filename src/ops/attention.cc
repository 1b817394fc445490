#include "ops/attention.h"

#include <bit>
#include <cmath>

namespace tokamak {

AttentionAttrs AttentionAttrs::from(const Attrs& a) {
  AttentionAttrs r;
  r.layer = a.get<int64_t>("layer");
  r.heads = a.get<int64_t>("heads");
  r.kv_heads = a.get<int64_t>("kv_heads");
  r.head_dim = a.get<int64_t>("head_dim");
  r.scale = a.get<double>("scale");
  r.softcap = a.get_or<double>("softcap", 0.0);
  r.window = a.get_or<int64_t>("window", 0);
  r.qk_norm = a.get_or<bool>("qk_norm", false);
  r.qk_norm_eps = a.get_or<double>("qk_norm_eps", 1e-6);
  r.has_rope = a.get_or<bool>("has_rope", false);
  if (r.has_rope) r.rope = RopeAttrs::from(a);
  r.alibi = a.get_or<bool>("alibi", false);
  r.deterministic = a.get_or<bool>("deterministic", false);
  return r;
}

Attrs AttentionAttrs::to_attrs() const {
  Attrs a;
  a.set("layer", layer).set("heads", heads).set("kv_heads", kv_heads).set("head_dim", head_dim);
  a.set("scale", scale);
  if (softcap != 0) a.set("softcap", softcap);
  if (window != 0) a.set("window", window);
  if (qk_norm) a.set("qk_norm", true).set("qk_norm_eps", qk_norm_eps);
  if (alibi) a.set("alibi", true);
  if (deterministic) a.set("deterministic", true);
  if (has_rope) {
    a.set("has_rope", true);
    rope.write_to(a);
  }
  return a;
}

int64_t alibi_row(int64_t heads) {
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
}

double alibi_slope(int64_t head, int64_t heads) {
  const auto n = static_cast<double>(alibi_row(heads)), h = static_cast<double>(head);
  return std::exp2(h < n ? -8 * (h + 1) / n : -4 * (2 * (h - n) + 1) / n);
}

}  // namespace tokamak
