#include "text/decoders.h"

#include <algorithm>
#include <array>
#include <memory>

#include "text/byte_level.h"
#include "text/regex.h"
#include "text/sp_decoder.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

using Tokens = std::vector<std::string>;
using Step = std::function<void(Tokens&)>;

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  if (what.empty()) return;
  size_t hit = text.find(what);
  if (hit == std::string::npos) return;
  std::string out;
  size_t at = 0;
  for (; hit != std::string::npos; hit = text.find(what, at)) {
    out.append(text, at, hit - at).append(with);
    at = hit + what.size();
  }
  text = out.append(text, at);
}

std::string join(const Tokens& tokens, std::string_view between) {
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += between;
    out += tokens[i];
  }
  return out;
}

Step make(const ByteLevelDecoder&, const std::string&) {
  return [](Tokens& tokens) {
    std::string bytes;
    for (const std::string& token : tokens) bytes += byte_level::unmapped(token).value_or(token);
    tokens = {unicode::to_valid(bytes)};
  };
}

// The value of a token "<0xNN>", or -1.
int byte_value(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  // Rust's from_str_radix takes a sign before the digits: "<0x+A>" is a byte too.
  for (size_t i = token[3] == '+' ? 4 : 3; i < 5; ++i) {
    const char c = token[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

Step make(const ByteFallbackDecoder&, const std::string&) {
  return [](Tokens& tokens) {
    Tokens out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (unicode::valid_prefix(run) == run.size()) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), unicode::to_utf8(unicode::kReplacement));
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_value(token);
      if (byte >= 0) {
        run += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  };
}

Step make(const FuseDecoder&, const std::string&) {
  return [](Tokens& tokens) { tokens = {join(tokens, "")}; };
}

Step make(const MetaspaceDecoder& spec, const std::string&) {
  return [spec](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool drop = i == 0 && spec.prepend != PrependScheme::kNever;
      replace_all(tokens[i], spec.replacement, drop ? "" : " ");
    }
  };
}

void clean_up(std::string& text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {
      {{" .", "."},
       {" ?", "?"},
       {" !", "!"},
       {" ,", ","},
       {" ' ", "'"},
       {" n't", "n't"},
       {" 'm", "'m"},
       {" do not", " don't"},
       {" 's", "'s"},
       {" 've", "'ve"},
       {" 're", "'re"}}};
  for (const auto& [what, with] : kRules) replace_all(text, what, with);
}

Step make(const WordPieceDecoder& spec, const std::string&) {
  return [spec](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        if (tokens[i].starts_with(spec.prefix)) {
          tokens[i].erase(0, spec.prefix.size());
        } else {
          tokens[i].insert(tokens[i].begin(), ' ');
        }
      }
      if (spec.cleanup) clean_up(tokens[i]);
    }
  };
}

// str::replace of Rust: an empty pattern matches at every character's edge.
void replace_everywhere(std::string& text, const std::string& what, std::string_view with) {
  if (!what.empty()) return replace_all(text, what, with);
  std::string out(with);
  for (size_t i = 0; i < text.size();) {
    const size_t length = unicode::char_length(static_cast<unsigned char>(text[i]));
    out.append(text, i, length).append(with);
    i += length;
  }
  text = std::move(out);
}

Step make(const BpeDecoder& spec, const std::string&) {
  return [spec](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      replace_everywhere(tokens[i], spec.suffix, i + 1 == tokens.size() ? "" : " ");
    }
  };
}

Step make(const StripDecoder& spec, const std::string&) {
  return [spec, content = unicode::to_utf8(spec.content)](Tokens& tokens) {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (uint32_t i = 0; i < spec.start && token.compare(begin, content.size(), content) == 0;
           ++i) {
        begin += content.size();
      }
      for (uint32_t i = 0; i < spec.stop && end >= begin + content.size() &&
                           token.compare(end - content.size(), content.size(), content) == 0;
           ++i) {
        end -= content.size();
      }
      token = token.substr(begin, end - begin);
    }
  };
}

Step make(const ReplaceDecoder& spec, const std::string& source) {
  if (!spec.pattern.regex && !spec.pattern.text.empty()) {
    return [spec](Tokens& tokens) {
      for (std::string& token : tokens) replace_all(token, spec.pattern.text, spec.content);
    };
  }
  const auto regex = std::make_shared<Regex>(spec.pattern.text, source + ": decoder Replace");
  return [regex, content = spec.content](Tokens& tokens) {
    Regex::Matcher matcher(*regex, {});
    for (std::string& token : tokens) {
      if (token.empty()) continue;
      matcher.reset(token);
      std::string out;
      size_t at = 0;
      for (Regex::Match match; matcher.next(match); at = match.end) {
        out.append(token, at, match.begin - at).append(content);
      }
      token = out.append(token, at);
    }
  };
}

Step make(const CtcDecoder& spec, const std::string&) {
  return [spec](Tokens& tokens) {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    Tokens out;
    for (std::string& token : tokens) {
      replace_everywhere(token, spec.pad_token, "");
      if (spec.cleanup) {
        clean_up(token);
        replace_everywhere(token, spec.word_delimiter_token, " ");
      }
      if (!token.empty()) out.push_back(std::move(token));
    }
    tokens = std::move(out);
  };
}

Step make(const SentencePieceDecoder& spec, const std::string& source) {
  const auto decoder = std::make_shared<SpDecoder>(spec, source);
  return [decoder](Tokens& tokens) { tokens = {decoder->decode(tokens)}; };
}

}  // namespace

Decoders::Decoders(const std::vector<DecoderSpec>& specs, const std::string& source) {
  for (const DecoderSpec& spec : specs) {
    steps_.push_back(std::visit([&](const auto& s) { return make(s, source); }, spec));
  }
}

std::string Decoders::run(std::vector<std::string> tokens) const {
  if (steps_.empty()) return join(tokens, " ");
  for (const auto& step : steps_) step(tokens);
  return join(tokens, "");
}

}  // namespace tokamak
