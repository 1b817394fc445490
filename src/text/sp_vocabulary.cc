#include "text/sp_vocabulary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/sp_pieces.h"

namespace tokamak {
namespace {

void check(const SpVocabulary& v, const std::string& source) {
  const size_t n = v.pieces.size();
  if (n == 0) fail("{}: the vocabulary has no pieces", source);
  if (v.scores.size() != n || v.types.size() != n)
    fail("{}: {} pieces, but {} scores and {} types", source, n, v.scores.size(), v.types.size());
  for (size_t i = 0; i < n; ++i) {
    if (!std::isfinite(v.scores[i])) fail("{}: the score of piece {} is not a number", source, i);
    if (v.types[i] == PieceType::kByte && byte_of_piece(v.pieces[i]) < 0)
      fail("{}: byte piece {} is '{}', expected the form <0xNN>", source, i, v.pieces[i]);
  }
  for (const auto& [name, id] :
       {std::pair{"bos", v.bos}, {"eos", v.eos}, {"unk", v.unk}, {"pad", v.pad}})
    if (id && (*id < 0 || static_cast<size_t>(*id) >= n))
      fail("{}: the {} id is {}, but there are {} pieces", source, name, *id, n);
  if (v.byte_fallback) {
    const auto ids = byte_piece_ids(v.pieces, v.types);
    if (const auto gap = std::find(ids.begin(), ids.end(), -1); gap != ids.end())
      fail("{}: byte fallback is on, but the piece <0x{:02X}> is missing", source,
           gap - ids.begin());
  }
}

ModelSpec make_model(SpVocabulary& v) {
  if (v.kind == SpVocabulary::Kind::kUnigram) {
    UnigramModel m;
    m.scores.assign(v.scores.begin(), v.scores.end());
    m.pieces = std::move(v.pieces);
    m.types = std::move(v.types);
    m.unk = v.unk;
    m.byte_fallback = v.byte_fallback;
    return m;
  }
  SpBpeModel m;
  m.pieces = std::move(v.pieces);
  m.scores = std::move(v.scores);
  m.types = std::move(v.types);
  m.unk = v.unk;
  m.byte_fallback = v.byte_fallback;
  return m;
}

}  // namespace

TokenizerSpec make_spec(SpVocabulary v, const std::string& source) {
  check(v, source);
  TokenizerSpec spec;
  spec.source = source;
  SentencePieceNormalizer normalizer;
  normalizer.charsmap = std::move(v.charsmap);
  normalizer.dummy_prefix = !v.add_dummy_prefix      ? PrependScheme::kNever
                            : v.prefix_after_special ? PrependScheme::kAlways
                                                     : PrependScheme::kFirst;
  normalizer.remove_extra_whitespaces = v.remove_extra_whitespaces;
  normalizer.escape_whitespaces = v.escape_whitespaces;
  normalizer.whitespace_as_suffix = v.whitespace_as_suffix;

  SentencePieceDecoder decoder;
  decoder.strip_dummy_prefix = v.add_dummy_prefix;
  decoder.strip_all_leading = v.remove_extra_whitespaces;
  decoder.byte_fallback = v.byte_fallback;
  if (v.unk) decoder.unk_piece = v.pieces[*v.unk];
  decoder.unk_surface = v.unk_surface;
  decoder.denormalizer_charsmap = std::move(v.denormalizer_charsmap);

  for (size_t i = 0; i < v.pieces.size(); ++i) {
    if (v.types[i] == PieceType::kUserDefined) normalizer.user_defined.push_back(v.pieces[i]);
    if (v.types[i] != PieceType::kControl) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(i);
    token.content = v.pieces[i];
    token.normalized = false;
    token.special = true;
    spec.added_tokens.push_back(std::move(token));
  }
  TemplatePostProcessor frame;
  if (v.add_bos && v.bos) frame.items.push_back({false, {*v.bos}});
  frame.items.push_back({true, {}});
  if (v.add_eos && v.eos) frame.items.push_back({false, {*v.eos}});
  spec.post_processors.push_back(std::move(frame));
  spec.bos = v.bos;
  spec.eos = v.eos;
  spec.unk = v.unk;
  spec.pad = v.pad;
  spec.normalizers.emplace_back(std::move(normalizer));
  spec.decoders.emplace_back(std::move(decoder));
  spec.model = make_model(v);
  return spec;
}

}  // namespace tokamak
