#include "ops/rope.h"

namespace tokamak {
namespace {

RopeScaling scaling_from(const Attrs& a) {
  RopeScaling s;
  s.kind = a.get_or<std::string>("rope_scaling", "none");
  s.factor = a.get_or("rope_factor", s.factor);
  s.original_max_position = a.get_or("rope_original_max_position", s.original_max_position);
  s.low_freq_factor = a.get_or("rope_low_freq_factor", s.low_freq_factor);
  s.high_freq_factor = a.get_or("rope_high_freq_factor", s.high_freq_factor);
  s.beta_fast = a.get_or("rope_beta_fast", s.beta_fast);
  s.beta_slow = a.get_or("rope_beta_slow", s.beta_slow);
  s.attention_factor = a.get_or("rope_attention_factor", s.attention_factor);
  s.mscale = a.get_or("rope_mscale", s.mscale);
  s.mscale_all_dim = a.get_or("rope_mscale_all_dim", s.mscale_all_dim);
  s.truncate = a.get_or("rope_truncate", s.truncate);
  s.short_factor = a.get_or("rope_short_factor", s.short_factor);
  s.long_factor = a.get_or("rope_long_factor", s.long_factor);
  return s;
}

// Only what differs from the default, so that equal settings give equal keys.
void write_scaling(const RopeScaling& s, Attrs& a) {
  const RopeScaling d;
  if (s.kind == d.kind) return;
  const auto put = [&a](const char* name, const auto& value, const auto& fallback) {
    if (value != fallback) a.set(name, value);
  };
  a.set("rope_scaling", s.kind);
  put("rope_factor", s.factor, d.factor);
  put("rope_original_max_position", s.original_max_position, d.original_max_position);
  put("rope_low_freq_factor", s.low_freq_factor, d.low_freq_factor);
  put("rope_high_freq_factor", s.high_freq_factor, d.high_freq_factor);
  put("rope_beta_fast", s.beta_fast, d.beta_fast);
  put("rope_beta_slow", s.beta_slow, d.beta_slow);
  put("rope_attention_factor", s.attention_factor, d.attention_factor);
  put("rope_mscale", s.mscale, d.mscale);
  put("rope_mscale_all_dim", s.mscale_all_dim, d.mscale_all_dim);
  put("rope_truncate", s.truncate, d.truncate);
  put("rope_short_factor", s.short_factor, d.short_factor);
  put("rope_long_factor", s.long_factor, d.long_factor);
}

}  // namespace

RopeAttrs RopeAttrs::from(const Attrs& a) {
  RopeAttrs r;
  r.head_dim = a.get<int64_t>("rope_head_dim");
  r.rotary_dim = a.get_or<int64_t>("rope_rotary_dim", r.head_dim);
  r.neox = a.get_or<bool>("rope_neox", true);
  r.theta = a.get<double>("rope_theta");
  r.max_position = a.get_or<int64_t>("rope_max_position", 0);
  r.scaling = scaling_from(a);
  if (r.head_dim <= 0 || r.rotary_dim <= 0 || r.rotary_dim > r.head_dim || r.rotary_dim % 2)
    fail("rope: rotary_dim {} must be even, positive and at most head_dim {}", r.rotary_dim,
         r.head_dim);
  if (!(r.theta > 0)) fail("rope: theta must be positive, found {}", r.theta);
  return r;
}

void RopeAttrs::write_to(Attrs& a) const {
  a.set("rope_head_dim", head_dim).set("rope_theta", theta);
  if (rotary_dim != head_dim) a.set("rope_rotary_dim", rotary_dim);
  if (!neox) a.set("rope_neox", false);
  if (rope_depends_on_length(*this) && max_position) a.set("rope_max_position", max_position);
  write_scaling(scaling, a);
}

bool rope_depends_on_length(const RopeAttrs& attrs) {
  return attrs.scaling.kind == "dynamic" || attrs.scaling.kind == "longrope";
}

}  // namespace tokamak
