// Every pass, in the order of default_passes(). Each returns how many rewrites it made.
#pragma once
#include "graph/graph.h"

namespace tokamak {

int fold_constants(Graph& graph);
int fold_casts(Graph& graph);
int fold_views(Graph& graph);
int common_subexpressions(Graph& graph);
int recognize_activations(Graph& graph);
int recognize_softcap(Graph& graph);
int recognize_rms_norm(Graph& graph);
int recognize_layer_norm(Graph& graph);
int fuse_attention(Graph& graph);
int fuse_bias(Graph& graph);
int fuse_glu(Graph& graph);
int join_linears(Graph& graph);
int fuse_add_norm(Graph& graph);
int fuse_linear_epilogue(Graph& graph);
int join_chains(Graph& graph);
int dead_code(Graph& graph);

}  // namespace tokamak
