#include "text/normalizers.h"

#include <utf8proc.h>

#include <memory>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/regex.h"
#include "text/sp_normalizer.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

using Step = std::function<void(NormalText&)>;
using unicode::NormalForm;

// Rewrites the text character by character: map(c, out) appends what stands for c. Dropping what
// stands first moves the text away from the start of the input.
template <typename Map>
void rewrite(NormalText& text, Map&& map) {
  std::string out;
  out.reserve(text.text.size() + text.text.size() / 8);
  bool dropped_first = false;
  for (size_t i = 0; i < text.text.size();) {
    map(unicode::next(text.text, i), out);
    if (out.empty()) dropped_first = true;
  }
  text.text = std::move(out);
  if (dropped_first) text.start_until = NormalText::kNowhere;
}

Step form(NormalForm f) {
  return [f](NormalText& t) { t.text = unicode::normalize(t.text, f); };
}

Step make(const NfcNormalizer&, const std::string&) { return form(NormalForm::kNfc); }
Step make(const NfdNormalizer&, const std::string&) { return form(NormalForm::kNfd); }
Step make(const NfkcNormalizer&, const std::string&) { return form(NormalForm::kNfkc); }
Step make(const NfkdNormalizer&, const std::string&) { return form(NormalForm::kNfkd); }

void lowercase(NormalText& t) {
  rewrite(t, [](char32_t c, std::string& out) { unicode::append_lower(out, c); });
}

Step make(const LowercaseNormalizer&, const std::string&) { return lowercase; }

Step make(const StripNormalizer& spec, const std::string&) {
  return [spec](NormalText& t) {
    size_t begin = 0, end = t.text.size();
    while (spec.left && begin < end) {
      size_t i = begin;
      if (!unicode::is_whitespace(unicode::next(t.text, i))) break;
      begin = i;
    }
    while (spec.right && end > begin) {
      size_t i = end;
      if (!unicode::is_whitespace(unicode::previous(t.text, i))) break;
      end = i;
    }
    if (begin > 0) t.start_until = NormalText::kNowhere;
    t.text = t.text.substr(begin, end - begin);
  };
}

Step make(const StripAccentsNormalizer&, const std::string&) {
  return [](NormalText& t) {
    rewrite(t, [](char32_t c, std::string& out) {
      if (!unicode::is_mark(c)) unicode::append(out, c);
    });
  };
}

Step make(const PrependNormalizer& spec, const std::string&) {
  return [prefix = spec.prefix](NormalText& t) {
    if (t.text.empty()) return;
    t.text.insert(0, prefix);
    if (t.at_start(0)) t.start_until += prefix.size();
  };
}

void replace_literal(std::string& text, const std::string& what, const std::string& with) {
  std::string out;
  size_t at = 0, hit = text.find(what);
  if (hit == std::string::npos) return;
  for (; hit != std::string::npos; hit = text.find(what, at)) {
    out.append(text, at, hit - at).append(with);
    at = hit + what.size();
  }
  text = out.append(text, at);
}

Step make(const ReplaceNormalizer& spec, const std::string& source) {
  if (!spec.pattern.regex && !spec.pattern.text.empty()) {
    return [spec](NormalText& t) { replace_literal(t.text, spec.pattern.text, spec.content); };
  }
  const auto regex = std::make_shared<Regex>(spec.pattern.text, source + ": normalizer Replace");
  return [regex, content = spec.content](NormalText& t) {
    if (t.text.empty()) return;
    Regex::Matcher matcher(*regex, t.text);
    std::string out;
    size_t at = 0;
    for (Regex::Match match; matcher.next(match); at = match.end) {
      out.append(t.text, at, match.begin - at).append(content);
    }
    t.text = out.append(t.text, at);
  };
}

bool is_chinese(char32_t c) {  // the blocks that BERT puts spaces around
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void bert_clean(char32_t c, std::string& out) {
  if (c == '\t' || c == '\n' || c == '\r') {
    out += ' ';
  } else if (c != 0 && c != unicode::kReplacement && !unicode::is_other(c)) {
    unicode::append(out, unicode::is_whitespace(c) ? U' ' : c);
  }
}

void bert_space_chinese(char32_t c, std::string& out) {
  if (!is_chinese(c)) return unicode::append(out, c);
  out += ' ';
  unicode::append(out, c);
  out += ' ';
}

Step make(const BertNormalizer& spec, const std::string&) {
  return [spec](NormalText& t) {
    if (spec.clean_text) rewrite(t, bert_clean);
    if (spec.handle_chinese_chars) rewrite(t, bert_space_chinese);
    if (spec.strip_accents.value_or(spec.lowercase)) {
      t.text = unicode::normalize(t.text, NormalForm::kNfd);
      rewrite(t, [](char32_t c, std::string& out) {
        if (!unicode::is_nonspacing(c)) unicode::append(out, c);
      });
    }
    if (spec.lowercase) lowercase(t);
  };
}

// Bytes of the extended grapheme cluster at `at`.
size_t grapheme_length(std::string_view text, size_t at) {
  size_t i = at;
  char32_t previous = unicode::next(text, i);
  utf8proc_int32_t state = 0;
  while (i < text.size()) {
    const size_t before = i;
    const char32_t c = unicode::next(text, i);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous),
                                         static_cast<utf8proc_int32_t>(c), &state)) {
      return before - at;
    }
    previous = c;
  }
  return text.size() - at;
}

// Maps a grapheme whole when it is short, else character by character.
void map_grapheme(const CharsMap& map, std::string_view grapheme, std::string& out) {
  if (grapheme.size() < 6) {
    const auto match = map.shortest_prefix(grapheme);
    if (match.length > 0) {
      out += match.replacement;
      return;
    }
  }
  for (size_t i = 0; i < grapheme.size();) {
    const size_t length = unicode::char_length(static_cast<unsigned char>(grapheme[i]));
    const std::string_view c = grapheme.substr(i, length);
    const auto match = map.shortest_prefix(c);
    out += match.length > 0 ? match.replacement : c;
    i += length;
  }
}

Step make(const PrecompiledNormalizer& spec, const std::string& source) {
  const auto map = std::make_shared<CharsMap>(spec.charsmap, source);
  return [map](NormalText& t) {
    std::string out;
    out.reserve(t.text.size());
    for (size_t i = 0; i < t.text.size();) {
      const size_t length = grapheme_length(t.text, i);
      map_grapheme(*map, std::string_view(t.text).substr(i, length), out);
      i += length;
    }
    t.text = std::move(out);
  };
}

Step make(const NmtNormalizer&, const std::string&) {
  return [](NormalText& t) {
    rewrite(t, [](char32_t c, std::string& out) {
      const bool control = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
                           c == 0x8F || c == 0x9F;
      if (control) return;
      const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                         c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      unicode::append(out, space ? U' ' : c);
    });
  };
}

Step make(const ByteLevelNormalizer&, const std::string&) {
  return [](NormalText& t) {
    std::string out;
    byte_level::append_mapped(out, t.text);
    t.text = std::move(out);
  };
}

Step make(const SentencePieceNormalizer& spec, const std::string& source) {
  const auto normalizer = std::make_shared<SpNormalizer>(spec, source);
  return [normalizer](NormalText& t) {
    std::string out;
    normalizer->normalize(t.text, t.at_start(0), out);
    t.text = std::move(out);
  };
}

}  // namespace

Normalizers::Normalizers(const std::vector<NormalizerSpec>& specs, const std::string& source) {
  for (const NormalizerSpec& spec : specs) {
    steps_.push_back(std::visit([&](const auto& s) { return make(s, source); }, spec));
  }
}

}  // namespace tokamak
