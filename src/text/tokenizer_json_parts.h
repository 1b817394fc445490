// The parts of a tokenizer.json, each read from its own value. All throw Error naming file and
// field.
#pragma once
#include <vector>

#include "text/json_node.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

// A "Sequence" appends what it holds.
void read_normalizers(const JsonNode& node, std::vector<NormalizerSpec>& out);
void read_pre_tokenizers(const JsonNode& node, std::vector<PreTokenizerSpec>& out);
void read_decoders(const JsonNode& node, std::vector<DecoderSpec>& out);
ModelSpec read_model(const JsonNode& node);

}  // namespace tokamak
