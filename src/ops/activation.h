// Activations, by the names that graphs and configs use.
#pragma once
#include <cstdint>
#include <string_view>

namespace tokamak {

enum class Activation : uint8_t { none, silu, gelu, gelu_tanh, relu, sigmoid, tanh };

std::string_view name(Activation a);
// Also knows the aliases of HF configs: gelu_new, gelu_pytorch_tanh, gelu_fast, swish.
Activation parse_activation(std::string_view text);

}  // namespace tokamak
