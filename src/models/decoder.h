// The decoder-only transformer of the LLaMA, Mistral, Qwen, Phi-3 and Gemma families: one graph
// that the config's fields vary. Inputs: token_ids i32[tokens], positions i32[tokens]. Output
// "logits": f32[sequences, vocab].
#pragma once
#include "formats/model_config.h"
#include "graph/graph.h"
#include "nn/builder.h"
#include "ops/plugin.h"

namespace tokamak {

// Error names a weight that is missing or has another shape than the config implies.
// activation: dtype of everything between the embedding and the logits. plugins: where the op of a
// hidden_act "plugin:NAME" is looked for, which takes the results of the MLP's two linears.
Graph build_decoder(const ModelConfig& config, const nn::WeightLookup& weights,
                    DType activation = DType::f32, const PluginLibraries& plugins = {});

}  // namespace tokamak
