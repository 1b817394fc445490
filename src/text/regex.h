// Regular expressions of tokenizer files: Oniguruma's Ruby syntax, run by PCRE2 with its JIT.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace tokamak {

// Which library's meaning of \w the pattern was written for: Rust's counts the two joiners in.
enum class RegexDialect { kOniguruma, kRust };

// The PCRE2 pattern with the same meaning (regex_translate.cc lists the differences that it
// bridges). Throws Error, naming `source`, for constructs that PCRE2 does not have.
std::string translate_regex(std::string_view pattern, RegexDialect dialect,
                            const std::string& source);

class Regex {
 public:
  // `source` names the pattern's place in messages.
  Regex(std::string_view pattern, const std::string& source,
        RegexDialect dialect = RegexDialect::kOniguruma);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  struct Match {
    size_t begin = 0, end = 0;
  };
  // Walks over the matches in valid UTF-8 text, as Oniguruma's find_iter does: an empty match right
  // behind the last match is skipped. One Matcher serves one thread; `text` must outlive it.
  class Matcher {
   public:
    Matcher(const Regex& regex, std::string_view text);
    ~Matcher();
    Matcher(const Matcher&) = delete;
    void reset(std::string_view text);
    bool next(Match& match);

   private:
    bool search(size_t start, Match& match);
    struct State;
    std::unique_ptr<State> state_;
    const Regex& regex_;
    std::string_view text_;
    size_t at_ = 0;
    size_t last_end_ = 0;
    bool matched_ = false;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace tokamak
