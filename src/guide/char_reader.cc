#include "guide/char_reader.h"

namespace tokamak::guide {
namespace {

constexpr int64_t kMostRepetitions = 1'000'000;

}  // namespace

std::u32string from_utf8(std::string_view text, const std::string& where) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t n = lead < 0x80   ? 1
                     : lead < 0xC2 ? 0
                     : lead < 0xE0 ? 2
                     : lead < 0xF0 ? 3
                     : lead < 0xF5 ? 4
                                   : 0;
    char32_t c = n == 1 ? lead : lead & (0xFFu >> (n + 1));
    bool good = n > 0 && i + n <= text.size();
    for (size_t k = 1; good && k < n; ++k) {
      const auto b = static_cast<uint8_t>(text[i + k]);
      good = (b & 0xC0) == 0x80;
      c = c << 6 | (b & 0x3F);
    }
    constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    good = good && c >= kLeast[n] && c <= kMaxChar && (c < 0xD800 || c > 0xDFFF);
    if (!good) fail("{}: not UTF-8 at byte {}", where, i);
    out += c;
    i += n;
  }
  return out;
}

std::string to_utf8(char32_t c) {
  std::string s;
  const auto put = [&](char32_t b) { s += static_cast<char>(b); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
  }
  if (c >= 0x80) put(0x80 | (c & 0x3F));
  return s;
}

bool is_word(char32_t c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

CharReader::CharReader(std::string_view text, std::string where)
    : storage_(from_utf8(text, where)), text_(storage_), where_(std::move(where)) {}

bool CharReader::take_if(char32_t c) {
  if (done() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool CharReader::take_if(std::u32string_view s) {
  if (!sees(s)) return false;
  at_ += s.size();
  return true;
}

int64_t CharReader::number() {
  if (peek() < '0' || peek() > '9') wrong("expected a number");
  int64_t n = 0;
  while (peek() >= '0' && peek() <= '9') {
    n = n * 10 + static_cast<int64_t>(take() - '0');
    if (n > kMostRepetitions) wrong(fmt::format("a count above {}", kMostRepetitions));
  }
  return n;
}

namespace {

int hex_digit(char32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

}  // namespace

char32_t CharReader::hex(int digits) {
  char32_t c = 0;
  for (int i = 0; i < digits; ++i) {
    const int d = hex_digit(peek());
    if (d < 0) wrong(fmt::format("expected {} hexadecimal digits", digits));
    c = c * 16 + static_cast<char32_t>(d);
    take();
  }
  return c;
}

char32_t CharReader::braced_hex() {
  if (!take_if(U'{')) wrong("expected {");
  char32_t c = 0;
  while (hex_digit(peek()) >= 0 && c <= kMaxChar)
    c = c * 16 + static_cast<char32_t>(hex_digit(take()));
  if (!take_if(U'}') || c > kMaxChar) wrong("expected a character's number and }");
  return c;
}

void CharReader::wrong(const std::string& what) const {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < at_ && i < text_.size(); ++i)
    text_[i] == '\n' ? (++line, column = 1) : ++column;
  if (line == 1) fail("{}: {} at character {}", where_, what, column);
  fail("{}: {} at line {}, column {}", where_, what, line, column);
}

}  // namespace tokamak::guide
