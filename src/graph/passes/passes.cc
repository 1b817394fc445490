#include "graph/passes/passes.h"

#include <array>

#include "graph/passes/pass.h"
#include "graph/passes/rewrite.h"

namespace tokamak {
namespace {

constexpr std::array<Pass, 16> kDefault = {{
    {"constants", "arithmetic on constants, and with 0 and 1", fold_constants},
    {"casts", "casts that change nothing, or that another undoes", fold_casts},
    {"views", "reshapes and slices that change nothing or follow each other", fold_views},
    {"cse", "equal computations once", common_subexpressions},
    {"activations", "sigmoid, silu and gelu written out", recognize_activations},
    {"softcap", "cap * tanh(x / cap)", recognize_softcap},
    {"rms_norm", "RMS norm written out", recognize_rms_norm},
    {"layer_norm", "layer norm written out", recognize_layer_norm},
    {"attention", "rope and the norm of q and k into attention", fuse_attention},
    {"bias", "a vector added to a linear", fuse_bias},
    {"glu", "activation(a) * b, with the two linears where possible", fuse_glu},
    {"join_linears", "linears that share their input (q, k, v) as one", join_linears},
    {"add_norm", "residual add with the norm that follows", fuse_add_norm},
    {"epilogue", "activation, residual and cast to float32 into the linear before",
     fuse_linear_epilogue},
    {"dead_code", "nodes without use", dead_code},
    {"chains", "elementwise ops that none of these took, as one", join_chains, true},
}};
// A pass list that keeps rewriting is a bug; graphs settle in three or four rounds.
constexpr int kMaxRounds = 50;

void settle(Graph& graph, std::span<const Pass> passes, bool last,
            std::vector<PassReport>& reports) {
  for (int round = 0; round < kMaxRounds; ++round) {
    int rewrites = 0;
    for (size_t i = 0; i < passes.size(); ++i) {
      if (passes[i].last != last) continue;
      const int n = passes[i].run(graph);
      graph.check();
      reports[i].rewrites += n;
      rewrites += n;
    }
    if (rewrites == 0) return;
  }
  TOKAMAK_ASSERT_MSG(false, "passes do not settle after {} rounds", kMaxRounds);
}

}  // namespace

std::span<const Pass> default_passes() { return kDefault; }

int dead_code(Graph& graph) { return remove_dead(graph); }

std::vector<PassReport> run_passes(Graph& graph, std::span<const Pass> passes) {
  std::vector<PassReport> reports;
  for (const Pass& pass : passes) reports.push_back({pass.name, 0});
  for (const bool last : {false, true}) settle(graph, passes, last, reports);
  return reports;
}

}  // namespace tokamak
