// An elementwise node as a piece of a chain: its program over values of the graph, and how two
// pieces become one.
#pragma once
#include <optional>

#include "graph/passes/rewrite.h"
#include "ops/chain.h"

namespace tokamak {

struct ChainPiece {
  Chain chain;                   // its inputs index `inputs`
  std::vector<ValueId> inputs;   // distinct
  std::vector<ValueId> outputs;  // one each of chain.outputs
};

// Nothing for nodes that no chain takes: other ops, element types other than f32, f16 and bf16,
// results of no or unknown width. Constants become numbers.
std::optional<ChainPiece> chain_piece(const GraphIndex& index, const Node& node);

// Both in one, `first` before `second`, with `outputs` (of either) as its outputs. In canonical
// form: steps in the order in which the outputs need them, each once, operands in the order in
// which they are read. Nothing when that would be larger than a chain may be.
std::optional<ChainPiece> join_pieces(const ChainPiece& first, const ChainPiece& second,
                                      const std::vector<ValueId>& outputs);

}  // namespace tokamak
