#include "text/pre_tokenizers.h"

#include <memory>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/split_pieces.h"
#include "text/unicode.h"
#include "text/unicode_tables.h"

namespace tokamak {
namespace {

using Step = std::function<void(TextPieces&)>;

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Builds the text anew, span by span: write(span's text, whether it begins the input, out) appends.
// The inserted prefix of the first span is `prefix` bytes long when write() returns it.
template <typename Write>
void rewrite_spans(TextPieces& pieces, Write&& write) {
  std::string out;
  out.reserve(pieces.text.size() + pieces.text.size() / 4);
  std::vector<Span> spans;
  spans.reserve(pieces.spans.size());
  size_t start_until = NormalText::kNowhere;
  for (const Span span : pieces.spans) {
    const auto begin = static_cast<uint32_t>(out.size());
    const bool at_start = pieces.at_start(span.begin);
    const size_t prefix = write(pieces.view(span), at_start, out);
    if (out.size() > UINT32_MAX) fail("the text is longer than 4 GiB");
    if (out.size() > begin) spans.push_back({begin, static_cast<uint32_t>(out.size())});
    if (at_start) start_until = begin + prefix;
  }
  pieces.text = std::move(out);
  pieces.spans = std::move(spans);
  pieces.start_until = start_until;
}

Step split_by(std::shared_ptr<const Regex> regex, SplitBehavior behavior, bool invert) {
  return [regex = std::move(regex), behavior, invert](TextPieces& pieces) {
    Regex::Matcher matcher(*regex, {});
    split_pieces(pieces, behavior, [&](std::string_view text, std::vector<Cut>& cuts) {
      regex_cuts(matcher, text, invert, cuts);
    });
  };
}

template <typename Predicate>
Step split_at(Predicate is_match, SplitBehavior behavior) {
  return [is_match, behavior](TextPieces& pieces) {
    split_pieces(pieces, behavior, [&](std::string_view text, std::vector<Cut>& cuts) {
      char_cuts(text, is_match, cuts);
    });
  };
}

struct Context {
  bool raw_bytes;
  const std::string& source;
};

Step make(const ByteLevelPreTokenizer& spec, const Context& context) {
  std::vector<Step> steps;
  if (spec.add_prefix_space) {
    steps.push_back([](TextPieces& pieces) {
      rewrite_spans(pieces, [](std::string_view text, bool, std::string& out) -> size_t {
        const bool prefix = !text.starts_with(' ');
        if (prefix) out += ' ';
        out += text;
        return prefix ? 1 : 0;
      });
    });
  }
  if (spec.use_regex) {
    const auto regex =
        std::make_shared<Regex>(kGpt2Pattern, context.source + ": pre_tokenizer ByteLevel");
    steps.push_back(split_by(regex, SplitBehavior::kIsolated, false));
  }
  if (!context.raw_bytes) {
    steps.push_back([](TextPieces& pieces) {
      rewrite_spans(pieces, [](std::string_view text, bool, std::string& out) -> size_t {
        byte_level::append_mapped(out, text);
        return 0;
      });
    });
  }
  return [steps](TextPieces& pieces) {
    for (const Step& step : steps) step(pieces);
  };
}

void literal_cuts(std::string_view text, std::string_view what, bool invert,
                  std::vector<Cut>& cuts) {
  const auto push = [&](size_t begin, size_t end, bool match) {
    cuts.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), match != invert});
  };
  size_t last = 0;
  for (size_t hit = text.find(what); hit != std::string_view::npos; hit = text.find(what, last)) {
    if (last != hit) push(last, hit, false);
    last = hit + what.size();
    push(hit, last, true);
  }
  if (last != text.size()) push(last, text.size(), false);
}

Step make(const SplitPreTokenizer& spec, const Context& context) {
  if (!spec.pattern.regex && !spec.pattern.text.empty()) {
    return [spec](TextPieces& pieces) {
      split_pieces(pieces, spec.behavior, [&](std::string_view text, std::vector<Cut>& cuts) {
        literal_cuts(text, spec.pattern.text, spec.invert, cuts);
      });
    };
  }
  const auto regex =
      std::make_shared<Regex>(spec.pattern.text, context.source + ": pre_tokenizer Split");
  return split_by(regex, spec.behavior, spec.invert);
}

Step make(const WhitespacePreTokenizer&, const Context& context) {
  const auto regex = std::make_shared<Regex>(
      R"(\w+|[^\w\s]+)", context.source + ": pre_tokenizer Whitespace", RegexDialect::kRust);
  return split_by(regex, SplitBehavior::kRemoved, true);
}

Step make(const WhitespaceSplitPreTokenizer&, const Context&) {
  return split_at(unicode::is_whitespace, SplitBehavior::kRemoved);
}

Step make(const BertPreTokenizer&, const Context&) {
  const Step words = split_at(unicode::is_whitespace, SplitBehavior::kRemoved);
  const Step punctuation = split_at(unicode::is_punctuation, SplitBehavior::kIsolated);
  return [words, punctuation](TextPieces& pieces) {
    words(pieces);
    punctuation(pieces);
  };
}

Step make(const MetaspacePreTokenizer& spec, const Context&) {
  return [spec](TextPieces& pieces) {
    rewrite_spans(pieces, [&](std::string_view text, bool at_start, std::string& out) -> size_t {
      const bool starts = text.starts_with(' ') || text.starts_with(spec.replacement);
      const bool prepend = !starts && (spec.prepend == PrependScheme::kAlways ||
                                       (spec.prepend == PrependScheme::kFirst && at_start));
      if (prepend) out += spec.replacement;
      for (const char c : text) {
        if (c == ' ') {
          out += spec.replacement;
        } else {
          out += c;
        }
      }
      return prepend ? spec.replacement.size() : 0;
    });
    if (!spec.split) return;
    split_pieces(pieces, SplitBehavior::kMergedWithNext,
                 [&](std::string_view text, std::vector<Cut>& cuts) {
                   literal_cuts(text, spec.replacement, false, cuts);
                 });
  };
}

Step make(const PunctuationPreTokenizer& spec, const Context&) {
  return split_at(unicode::is_punctuation, spec.behavior);
}

Step make(const DigitsPreTokenizer& spec, const Context&) {
  return split_at(unicode::is_numeric,
                  spec.individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
}

// Cuts where the script changes; characters without one (space) go with what stands before them,
// and those that lead the text are dropped.
void script_cuts(std::string_view text, std::vector<Cut>& cuts) {
  std::optional<uint32_t> begin;
  int last = 0;
  for (size_t i = 0; i < text.size();) {
    const auto at = static_cast<uint32_t>(i);
    const int script = unicode::merged_script(unicode::next(text, i));
    if (script == 0) continue;
    if (!begin || script != last) {
      if (begin) cuts.push_back({*begin, at, false});
      begin = at;
    }
    last = script;
  }
  if (begin) cuts.push_back({*begin, static_cast<uint32_t>(text.size()), false});
}

Step make(const UnicodeScriptsPreTokenizer&, const Context&) {
  return [](TextPieces& pieces) { split_pieces(pieces, SplitBehavior::kIsolated, script_cuts); };
}

Step make(const CharDelimiterPreTokenizer& spec, const Context&) {
  return split_at([d = spec.delimiter](char32_t c) { return c == d; }, SplitBehavior::kRemoved);
}

Step make(const FixedLengthPreTokenizer& spec, const Context& context) {
  if (spec.length == 0) fail("{}: pre_tokenizer FixedLength: length is 0", context.source);
  return [length = spec.length](TextPieces& pieces) {
    split_pieces(pieces, SplitBehavior::kIsolated,
                 [&](std::string_view text, std::vector<Cut>& cuts) {
                   uint32_t begin = 0, chars = 0;
                   for (size_t i = 0; i < text.size();) {
                     i += unicode::char_length(static_cast<unsigned char>(text[i]));
                     if (++chars < length && i < text.size()) continue;
                     cuts.push_back({begin, static_cast<uint32_t>(i), false});
                     begin = static_cast<uint32_t>(i);
                     chars = 0;
                   }
                 });
  };
}

}  // namespace

PreTokenizers::PreTokenizers(const std::vector<PreTokenizerSpec>& specs, bool raw_bytes,
                             const std::string& source) {
  const Context context{raw_bytes, source};
  for (const PreTokenizerSpec& spec : specs) {
    steps_.push_back(std::visit([&](const auto& s) { return make(s, context); }, spec));
  }
}

}  // namespace tokamak
