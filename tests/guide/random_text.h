// Texts as a model of random weights writes them under a guide.
#pragma once
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "guide/vocabularies.h"
#include "tokamak/guide.h"

namespace tokamak::testing {

struct RandomText {
  bool ended = false;  // by the grammar, within the steps
  std::vector<int32_t> tokens;
  std::string text;
};

// Each step takes any of the tokens that the mask allows; later ones lean towards an end.
RandomText random_text(const Vocabulary& v, const std::shared_ptr<const Guide>& guide,
                       std::mt19937& random, int most_tokens = 600);

std::shared_ptr<const Guide> make_guide(const Vocabulary& v, const GuideSpec& spec);

}  // namespace tokamak::testing
