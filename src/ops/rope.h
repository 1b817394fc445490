// Rotary position embedding. rope: x [tokens, heads * head_dim], positions [tokens] i32 → same
// shape. Only the first rotary_dim elements of each head turn. neox style pairs (i, i +
// rotary_dim/2), gptj style pairs (2i, 2i+1). Source: RoFormer (arXiv 2104.09864); yarn: arXiv
// 2309.00071; llama3 and longrope: as Hugging Face transformers computes them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ops/attrs.h"

namespace tokamak {

struct RopeScaling {
  std::string kind = "none";  // none|linear|dynamic|llama3|yarn|longrope
  double factor = 1;
  int64_t original_max_position = 0;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  double attention_factor = 0;                       // yarn, longrope; 0: derived
  double mscale = 0, mscale_all_dim = 0;             // yarn (DeepSeek)
  bool truncate = true;                              // yarn: round the correction range
  std::vector<double> short_factor, long_factor;     // longrope
};

struct RopeAttrs {
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;
  bool neox = true;
  double theta = 10000;
  int64_t max_position = 0;  // the model's max_position_embeddings (dynamic, longrope)
  RopeScaling scaling;

  static RopeAttrs from(const Attrs& a);  // keys with the prefix "rope_"
  void write_to(Attrs& a) const;
};

// rotary_dim/2 inverse frequencies and the factor on cos and sin, for a sequence whose length (with
// its context) is `length`: only dynamic and longrope depend on it.
struct RopeTable {
  std::vector<float> inv_freq;
  float magnitude = 1;
};
RopeTable rope_table(const RopeAttrs& attrs, int64_t length);
// True when the table depends on the sequence's length.
bool rope_depends_on_length(const RopeAttrs& attrs);

}  // namespace tokamak
