#include "text/sentencepiece_reader.h"

#include "base/error.h"
#include "base/json.h"
#include "text/piece_type.h"
#include "text/tokenizer_readers.h"
#include "text/wire_reader.h"

namespace tokamak {
namespace {

// The parts of TrainerSpec that decide how text is encoded.
struct Trainer {
  int32_t model_type = 1;
  bool byte_fallback = false, whitespace_as_suffix = false;
  std::string bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
  std::string unk_surface = SpVocabulary{}.unk_surface;
};

PieceType piece_type(int32_t value, size_t piece, const std::string& source) {
  if (const auto type = piece_type_of(value)) return *type;
  fail("{}: piece {} has type {}, expected 1 to 6", source, piece, value);
}

void read_piece(std::string_view bytes, const std::string& source, SpVocabulary& v) {
  std::string piece;
  float score = 0;
  PieceType type = PieceType::kNormal;
  WireReader r(bytes, source);
  while (r.next()) {
    if (r.field() == 1) piece = r.bytes();
    if (r.field() == 2) score = r.float32();
    if (r.field() == 3) type = piece_type(r.int32(), v.pieces.size(), source);
  }
  if (piece.empty()) fail("{}: piece {} is empty", source, v.pieces.size());
  v.pieces.push_back(std::move(piece));
  v.scores.push_back(score);
  v.types.push_back(type);
}

void read_trainer(std::string_view bytes, const std::string& source, Trainer& t) {
  WireReader r(bytes, source);
  while (r.next()) {
    switch (r.field()) {
      case 3:
        t.model_type = r.int32();
        break;
      case 24:
        t.whitespace_as_suffix = r.flag();
        break;
      case 35:
        t.byte_fallback = r.flag();
        break;
      case 44:
        t.unk_surface = r.bytes();
        break;
      case 46:
        t.bos_piece = r.bytes();
        break;
      case 47:
        t.eos_piece = r.bytes();
        break;
      case 48:
        t.pad_piece = r.bytes();
        break;
      default:
        break;
    }
  }
}

void read_normalizer(std::string_view bytes, const std::string& source, SpVocabulary& v) {
  WireReader r(bytes, source);
  while (r.next()) {
    switch (r.field()) {
      case 2:
        v.charsmap = r.bytes();
        break;
      case 3:
        v.add_dummy_prefix = r.flag();
        break;
      case 4:
        v.remove_extra_whitespaces = r.flag();
        break;
      case 5:
        v.escape_whitespaces = r.flag();
        break;
      default:
        break;
    }
  }
}

void read_denormalizer(std::string_view bytes, const std::string& source, SpVocabulary& v) {
  WireReader r(bytes, source);
  while (r.next())
    if (r.field() == 2) v.denormalizer_charsmap = r.bytes();
}

void find_special_pieces(const Trainer& t, const std::string& source, SpVocabulary& v) {
  for (size_t i = 0; i < v.pieces.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (v.types[i] == PieceType::kUnknown) {
      if (v.unk) fail("{}: pieces {} and {} are both of type unknown", source, *v.unk, id);
      v.unk = id;
    }
    if (v.types[i] != PieceType::kControl) continue;
    if (v.pieces[i] == t.bos_piece) v.bos = id;
    if (v.pieces[i] == t.eos_piece) v.eos = id;
    if (v.pieces[i] == t.pad_piece) v.pad = id;
  }
  if (!v.unk) fail("{}: no piece of type unknown among {}", source, v.pieces.size());
}

}  // namespace

SpVocabulary parse_sentencepiece(std::string_view bytes, const std::string& source) {
  SpVocabulary v;
  Trainer trainer;
  WireReader r(bytes, source);
  while (r.next()) {
    switch (r.field()) {
      case 1:
        read_piece(r.bytes(), source, v);
        break;
      case 2:
        read_trainer(r.bytes(), source, trainer);
        break;
      case 3:
        read_normalizer(r.bytes(), source, v);
        break;
      case 5:
        read_denormalizer(r.bytes(), source, v);
        break;
      default:
        break;
    }
  }
  if (v.pieces.empty()) fail("{}: no SentencePiece vocabulary: it has no pieces", source);
  if (trainer.model_type != 1 && trainer.model_type != 2)
    fail("{}: model_type is {}, expected 1 (unigram) or 2 (bpe)", source, trainer.model_type);
  v.kind = trainer.model_type == 1 ? SpVocabulary::Kind::kUnigram : SpVocabulary::Kind::kBpe;
  v.byte_fallback = trainer.byte_fallback;
  v.whitespace_as_suffix = trainer.whitespace_as_suffix;
  v.unk_surface = trainer.unk_surface;
  find_special_pieces(trainer, source, v);
  v.add_bos = v.bos.has_value();
  v.add_eos = !v.add_bos;
  return v;
}

}  // namespace tokamak
