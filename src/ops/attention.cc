#include "ops/attention.h"

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
  if (deterministic) a.set("deterministic", true);
  if (has_rope) {
    a.set("has_rope", true);
    rope.write_to(a);
  }
  return a;
}

}  // namespace tokamak
