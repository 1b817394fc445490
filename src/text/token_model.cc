#include "text/token_model.h"

#include "base/error.h"
#include "text/sp_bpe.h"
#include "text/sp_unigram.h"

namespace tokamak {
namespace {

class WordLevel : public TokenModel {
 public:
  WordLevel(const WordLevelModel& spec, const StringIndex& index, const std::string& source)
      : index_(index), unk_(spec.unk), source_(source) {}
  void tokenize(std::string_view piece, Scratch&, std::vector<int32_t>& out) const override {
    const int32_t id = index_.find(piece);
    if (id < 0 && !unk_) fail("{}: WordLevel has no unknown token for '{}'", source_, piece);
    out.push_back(id >= 0 ? id : *unk_);
  }

 private:
  const StringIndex& index_;
  std::optional<int32_t> unk_;
  std::string source_;
};

template <typename Model>
class SentencePieceModel : public TokenModel {
 public:
  template <typename Spec>
  SentencePieceModel(const Spec& spec, const std::string& source) : model_(spec, source) {}
  void tokenize(std::string_view piece, Scratch& scratch,
                std::vector<int32_t>& out) const override {
    if constexpr (requires { model_.encode(piece, scratch.cache, out); }) {
      model_.encode(piece, scratch.cache, out);
    } else {
      model_.encode(piece, out);
    }
  }

 private:
  Model model_;
};

struct Maker {
  const StringIndex& index;
  bool raw_bytes;
  const std::string& source;

  std::unique_ptr<TokenModel> operator()(const BpeModel& spec) const {
    return make_bpe(spec, index, raw_bytes, source);
  }
  std::unique_ptr<TokenModel> operator()(const SpBpeModel& spec) const {
    return std::make_unique<SentencePieceModel<SpBpe>>(spec, source);
  }
  std::unique_ptr<TokenModel> operator()(const WordPieceModel& spec) const {
    return make_wordpiece(spec, index, source);
  }
  std::unique_ptr<TokenModel> operator()(const UnigramModel& spec) const {
    if (spec.types.empty()) return make_unigram(spec, source);
    return std::make_unique<SentencePieceModel<SpUnigram>>(spec, source);
  }
  std::unique_ptr<TokenModel> operator()(const WordLevelModel& spec) const {
    return std::make_unique<WordLevel>(spec, index, source);
  }
};

}  // namespace

const std::vector<std::string>& pieces_of(const ModelSpec& spec) {
  return std::visit([](const auto& m) -> const std::vector<std::string>& { return m.pieces; },
                    spec);
}

bool supports_raw_bytes(const ModelSpec& spec) {
  const auto* bpe = std::get_if<BpeModel>(&spec);
  return bpe != nullptr && !bpe->byte_fallback && bpe->continuing_subword_prefix.empty() &&
         bpe->end_of_word_suffix.empty();
}

std::unique_ptr<TokenModel> make_model(const ModelSpec& spec, const StringIndex& index,
                                       bool raw_bytes, const std::string& source) {
  return std::visit(Maker{index, raw_bytes, source}, spec);
}

}  // namespace tokamak
