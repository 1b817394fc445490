#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

// Patterns with nested repeats may need a deep stack on long words; the usual ones need none.
constexpr size_t kJitStackMax = 64u << 20;
constexpr uint32_t kMatchLimit = 20'000'000;  // backtracking steps before a text is refused

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(error, text, sizeof text) < 0) return fmt::format("error {}", error);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string source;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, const std::string& source, RegexDialect dialect)
    : code_(std::make_unique<Code>()) {
  code_->source = source;
  if (unicode::valid_prefix(pattern) != pattern.size())
    fail("{}: the pattern is not UTF-8", source);
  const std::string translated = translate_regex(pattern, dialect, source);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  TOKAMAK_ASSERT(context != nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 200);
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code_->code == nullptr) {
    fail("{}: bad regular expression '{}': {} (at byte {} of its PCRE2 form '{}')", source, pattern,
         message_of(error), offset, translated);
  }
  code_->jit = pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

struct Regex::Matcher::State {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

Regex::Matcher::Matcher(const Regex& regex, std::string_view text)
    : state_(std::make_unique<State>()), regex_(regex), text_(text) {
  state_->data = pcre2_match_data_create_from_pattern(regex.code_->code, nullptr);
  state_->context = pcre2_match_context_create(nullptr);
  TOKAMAK_ASSERT(state_->data != nullptr && state_->context != nullptr);
  pcre2_set_match_limit(state_->context, kMatchLimit);
}

Regex::Matcher::~Matcher() = default;

void Regex::Matcher::reset(std::string_view text) {
  text_ = text;
  at_ = last_end_ = 0;
  matched_ = false;
}

bool Regex::Matcher::search(size_t start, Match& match) {
  const Code& code = *regex_.code_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  const auto run = [&] {
    if (code.jit) {
      return pcre2_jit_match(code.code, subject, text_.size(), start, 0, state_->data,
                             state_->context);
    }
    return pcre2_match(code.code, subject, text_.size(), start, PCRE2_NO_UTF_CHECK, state_->data,
                       state_->context);
  };
  int result = run();
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && state_->stack == nullptr) {
    state_->stack = pcre2_jit_stack_create(256u << 10, kJitStackMax, nullptr);
    TOKAMAK_ASSERT(state_->stack != nullptr);
    pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
    result = run();
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) fail("{}: matching failed: {}", code.source, message_of(result));
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(state_->data);
  match = {span[0], span[1]};
  if (match.begin > match.end) fail("{}: \\K after the end of the match", code.source);
  return true;
}

bool Regex::Matcher::next(Match& match) {
  while (at_ <= text_.size() && search(at_, match)) {
    if (match.begin != match.end || !matched_ || last_end_ != match.end) {
      at_ = last_end_ = match.end;
      matched_ = true;
      return true;
    }
    at_ += at_ < text_.size() ? unicode::char_length(static_cast<unsigned char>(text_[at_])) : 1;
  }
  at_ = text_.size() + 1;
  return false;
}

}  // namespace tokamak
