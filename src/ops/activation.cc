#include "ops/activation.h"

#include <array>
#include <string>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr std::array<std::string_view, 7> kNames = {"none", "silu",    "gelu", "gelu_tanh",
                                                    "relu", "sigmoid", "tanh"};

struct Alias {
  std::string_view text;
  Activation activation;
};
// Spellings of HF's hidden_act that mean one of the names above.
constexpr std::array<Alias, 6> kAliases = {{
    {"swish", Activation::silu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_python", Activation::gelu},
    {"linear", Activation::none},
}};

}  // namespace

std::string_view name(Activation a) { return kNames[static_cast<size_t>(a)]; }

Activation parse_activation(std::string_view text) {
  std::string known;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (text == kNames[i]) return static_cast<Activation>(i);
    known += (i ? ", " : "") + std::string(kNames[i]);
  }
  for (const Alias& alias : kAliases) {
    if (text == alias.text) return alias.activation;
    known += ", " + std::string(alias.text);
  }
  fail("unknown activation '{}'; known: {}", text, known);
}

}  // namespace tokamak
