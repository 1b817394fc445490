#include "backend/cpu/registry.h"

#include "backend/cpu/attention/attention_tactic.h"
#include "backend/cpu/chain/chain_tactics.h"
#include "backend/cpu/light/light_tactics.h"
#include "backend/cpu/linear/amx_tactic.h"
#include "backend/cpu/linear/linear_tactic.h"
#include "backend/cpu/linear/rows16_embedding.h"
#include "backend/cpu/lora/lora_tactic.h"
#include "backend/cpu/reference/reference.h"
#include "backend/plain_layout.h"

namespace tokamak {

// Per op the last added counts as the best, so levels rise from top to bottom.
CpuRegistry make_cpu_registry(const CpuTarget& target) {
  CpuRegistry r{{}, target};
  r.add_layout<PlainLayout>();

  add_reference_linear(r);
  add_reference_norm(r);
  add_reference_elementwise(r);
  add_reference_chain(r);
  add_reference_rowwise(r);
  add_reference_moves(r);
  add_reference_rope(r);
  add_reference_attention(r);
  add_reference_lora(r);

  add_rows16_embedding(r);
  add_light_tactics(r);
  add_tuned_chain(r);
  add_tuned_linear(r);
  add_amx_linear(r);
  add_tuned_attention(r);
  add_tuned_lora(r);
  return r;
}

}  // namespace tokamak
