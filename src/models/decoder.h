// The decoder-only transformer of the LLaMA, Mistral, Qwen, Phi-3 and Gemma families: one graph
// that the config's fields vary. Inputs: token_ids i32[tokens], positions i32[tokens]. Output
// "logits": f32[sequences, vocab].
#pragma once
#include "formats/model_config.h"
#include "graph/graph.h"
#include "nn/builder.h"

namespace tokamak {

// Error names a weight that is missing or has another shape than the config implies.
// activation: dtype of everything between the embedding and the logits.
Graph build_decoder(const ModelConfig& config, const nn::WeightLookup& weights,
                    DType activation = DType::f32);

}  // namespace tokamak
