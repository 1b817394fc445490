// Oniguruma (Ruby syntax) → PCRE2. Where the two mean different things by the same text:
//   \s \S      PCRE2 counts U+180E as white space            → spelt out
//   \w \b      PCRE2: L, N, '_'; Oniguruma: Alphabetic, M, Nd, Pc → spelt out
//   \h \v      hex digit and vertical tab, not white space classes
//   (?m)       dot matches newline: PCRE2's (?s); ^ and $ always work by lines
//   a(?i)b|c   the option's scope is a group: a(?i:b|c)
//   x{n,m}+    a repeated repeat, not a possessive one; x{n}? is an optional one; x{,n} is x{0,n}
//   [a[bc]&&d] nested and intersected classes                → alternatives and look-aheads
//   [[:punct:]] and the other POSIX classes, \p{Letter} …     → spelt out
//   \p{Han}    Script, not Script_Extensions                  → \p{sc:Han}
// and characters that are younger than PCRE2's Unicode 14 are added to the classes they belong to.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/regex.h"
#include "text/unicode_tables.h"

namespace tokamak {
namespace {

constexpr std::string_view kSpace = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kAnyChar = R"([\s\S])";

using Names = std::pair<std::string_view, std::string_view>;

constexpr std::array<Names, 12> kPosix = {{{"alnum", R"(\p{Alphabetic}\p{Nd})"},
                                           {"alpha", R"(\p{Alphabetic})"},
                                           {"ascii", R"(\x00-\x7F)"},
                                           {"blank", R"(\t\p{Zs})"},
                                           {"cntrl", R"(\p{Cc})"},
                                           {"digit", R"(\p{Nd})"},
                                           {"lower", R"(\p{Lowercase})"},
                                           {"punct", R"(\p{P}\p{S})"},
                                           {"space", kSpace},
                                           {"upper", R"(\p{Uppercase})"},
                                           {"xdigit", "0-9A-Fa-f"},
                                           {"word", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})"}}};

constexpr std::array<Names, 38> kCategories = {{{"letter", "L"},
                                                {"casedletter", "L&"},
                                                {"lc", "L&"},
                                                {"uppercaseletter", "Lu"},
                                                {"lowercaseletter", "Ll"},
                                                {"titlecaseletter", "Lt"},
                                                {"modifierletter", "Lm"},
                                                {"otherletter", "Lo"},
                                                {"mark", "M"},
                                                {"combiningmark", "M"},
                                                {"nonspacingmark", "Mn"},
                                                {"spacingmark", "Mc"},
                                                {"enclosingmark", "Me"},
                                                {"number", "N"},
                                                {"decimalnumber", "Nd"},
                                                {"letternumber", "Nl"},
                                                {"othernumber", "No"},
                                                {"punctuation", "P"},
                                                {"connectorpunctuation", "Pc"},
                                                {"dashpunctuation", "Pd"},
                                                {"openpunctuation", "Ps"},
                                                {"closepunctuation", "Pe"},
                                                {"initialpunctuation", "Pi"},
                                                {"finalpunctuation", "Pf"},
                                                {"otherpunctuation", "Po"},
                                                {"symbol", "S"},
                                                {"mathsymbol", "Sm"},
                                                {"currencysymbol", "Sc"},
                                                {"modifiersymbol", "Sk"},
                                                {"othersymbol", "So"},
                                                {"separator", "Z"},
                                                {"spaceseparator", "Zs"},
                                                {"lineseparator", "Zl"},
                                                {"paragraphseparator", "Zp"},
                                                {"other", "C"},
                                                {"control", "Cc"},
                                                {"format", "Cf"},
                                                {"unassigned", "Cn"}}};

// Binary properties that both libraries know by the same name.
constexpr std::array<std::string_view, 22> kBinary = {"alphabetic",
                                                      "uppercase",
                                                      "lowercase",
                                                      "whitespace",
                                                      "ideographic",
                                                      "emoji",
                                                      "emojimodifier",
                                                      "asciihexdigit",
                                                      "extendedpictographic",
                                                      "hexdigit",
                                                      "dash",
                                                      "diacritic",
                                                      "extender",
                                                      "math",
                                                      "quotationmark",
                                                      "cased",
                                                      "joincontrol",
                                                      "variationselector",
                                                      "graphemebase",
                                                      "graphemeextend",
                                                      "emojipresentation",
                                                      "any"};

template <size_t N>
const std::string_view* find_name(const std::array<Names, N>& table, std::string_view key) {
  for (const auto& [name, value] : table) {
    if (name == key) return &value;
  }
  return nullptr;
}

// A set of characters: the inside of a PCRE2 class, and whole atoms that match one character.
struct Set {
  std::string items;
  std::vector<std::string> atoms;
  bool single = false;  // items is one \p{..}: its complement may stand inside a class

  std::string positive() const {
    const std::string plain = items.empty() ? "" : "[" + items + "]";
    if (atoms.empty()) return plain.empty() ? "(?!)" : plain;
    std::string out = "(?:" + plain;
    for (const auto& atom : atoms) out += (out.size() > 3 ? "|" : "") + atom;
    return out + ")";
  }
  std::string negative() const {
    if (atoms.empty()) return items.empty() ? std::string(kAnyChar) : "[^" + items + "]";
    return "(?:(?!" + positive() + ")" + std::string(kAnyChar) + ")";
  }
};

// The young characters for which belongs(range) holds, as items of a class.
template <typename Belongs>
std::string young_items(Belongs&& belongs) {
  std::string out;
  for (const unicode::YoungRange& range : unicode::young_ranges()) {
    if (!belongs(range)) continue;
    out += fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(range.first));
    if (range.last != range.first) {
      out += fmt::format("-\\x{{{:X}}}", static_cast<uint32_t>(range.last));
    }
  }
  return out;
}

// `category`: one or two letters, or "L&".
std::string young_of_category(std::string_view category) {
  return young_items([&](const unicode::YoungRange& r) {
    if (category == "L&") return r.category == "Lu" || r.category == "Ll" || r.category == "Lt";
    return r.category.starts_with(category);
  });
}

// Marks that have become Alphabetic since Unicode 14.
constexpr std::string_view kYoungAlphabetic =
    R"(\x{363}-\x{36F}\x{C04}\x{F82}\x{F83}\x{1DD3}-\x{1DE6}\x{11080}\x{11081})";

// Letters that have become Lowercase since.
constexpr std::string_view kYoungLowercase =
    R"(\x{10FC}\x{A7F2}-\x{A7F4}\x{AB69}\x{1E030}-\x{1E06D})";

std::string young_of_posix(std::string_view name) {
  if (name == "lower") return std::string(kYoungLowercase) + young_of_category("Ll");
  const bool letters = name == "alpha" || name == "alnum";
  return (letters ? std::string(kYoungAlphabetic) : std::string()) +
         young_items([&](const unicode::YoungRange& r) {
           const auto in = [&](std::string_view list) {
             return list.find(r.category) != std::string_view::npos;
           };
           if (name == "alpha") return r.alphabetic;
           if (name == "alnum") return r.alphabetic || in("Nd");
           if (name == "word") return r.alphabetic || in("Mn Mc Me Nd Pc");
           if (name == "digit") return in("Nd");
           if (name == "upper") return in("Lu");
           if (name == "punct") return r.category[0] == 'P' || r.category[0] == 'S';
           return name == "graph";
         });
}

// Categories that hold unassigned characters lose the young ones.
Set without_young(std::string_view category) {
  const std::string young = young_items([](const auto&) { return true; });
  return {"", {fmt::format("(?:(?![{}])\\p{{{}}})", young, category)}, false};
}

class Translator {
 public:
  Translator(std::string_view in, RegexDialect dialect, const std::string& source)
      : in_(in), dialect_(dialect), source_(source) {}

  std::string run() {
    groups_.push_back({0, 0});
    while (at_ < in_.size()) step();
    if (groups_.size() != 1) refuse("a group is not closed");
    out_.append(groups_[0].implied, ')');
    return std::move(out_);
  }

 private:
  struct Group {
    size_t start;    // where the group begins in out_
    size_t implied;  // groups opened inside for bare options, closed with this one
  };

  [[noreturn]] void refuse(const std::string& why) const {
    fail("{}: bad regular expression '{}': {} (near byte {})", source_, in_, why, at_);
  }
  bool looking_at(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  char take() {
    if (at_ >= in_.size()) refuse("it ends too early");
    return in_[at_++];
  }
  void atom(std::string_view text) {
    atom_ = out_.size();
    quantified_ = false;
    out_ += text;
  }

  void step() {
    switch (in_[at_]) {
      case '\\':
        ++at_;
        return escape();
      case '[':
        ++at_;
        return atom(char_class());
      case '(':
        return open();
      case ')':
        return close();
      case '*':
      case '+':
      case '?':
        return repeat(std::string(1, take()), true);
      case '{':
        return brace();
      case '|':
      case '^':
        out_ += take();
        return;
      default:
        return literal();
    }
  }

  void literal() {
    const auto lead = static_cast<unsigned char>(in_[at_]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    const std::string_view text = in_.substr(at_, length);
    at_ += text.size();
    atom(text);
  }

  void wrap_atom() {
    out_.insert(atom_, "(?:");
    out_ += ')';
  }

  void repeat(const std::string& text, bool may_modify) {
    if (quantified_) wrap_atom();
    out_ += text;
    quantified_ = true;
    if (may_modify && at_ < in_.size() && (in_[at_] == '?' || in_[at_] == '+')) out_ += take();
  }

  void brace() {
    size_t i = at_ + 1;
    const auto digits = [&] {
      const size_t from = i;
      while (i < in_.size() && in_[i] >= '0' && in_[i] <= '9') ++i;
      return std::string(in_.substr(from, i - from));
    };
    std::string low = digits(), high = low;
    const bool fixed = !(i < in_.size() && in_[i] == ',');
    if (!fixed) {
      ++i;
      high = digits();
    }
    if (i >= in_.size() || in_[i] != '}' || (low.empty() && high.empty())) {
      ++at_;
      return atom("\\{");
    }
    at_ = i + 1;
    if (low.empty()) low = "0";
    repeat(fixed ? "{" + low + "}" : "{" + low + "," + high + "}", false);
    if (at_ < in_.size() && in_[at_] == '?' && !fixed) out_ += take();  // reluctant
  }

  void open() {
    const size_t start = out_.size();
    ++at_;
    groups_.push_back({start, 0});
    quantified_ = false;
    if (!looking_at("?")) {
      out_ += '(';
      return;
    }
    if (looking_at("?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) refuse("a comment is not closed");
      at_ = end + 1;
      groups_.pop_back();
      return;
    }
    for (const std::string_view plain : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (!looking_at(plain)) continue;
      at_ += plain.size();
      out_ += "(" + std::string(plain);
      return;
    }
    if (looking_at("?<") || looking_at("?'")) {
      const char closer = looking_at("?<") ? '>' : '\'';
      const size_t end = in_.find(closer, at_ + 2);
      if (end == std::string_view::npos) refuse("a group's name is not closed");
      out_ += "(" + std::string(in_.substr(at_, end + 1 - at_));
      at_ = end + 1;
      return;
    }
    options();
  }

  void options() {
    ++at_;  // '?'
    std::string letters;
    char c = take();
    for (; c != ')' && c != ':'; c = take()) {
      if (c == 'm') {
        letters += 's';
      } else if (c == 'i' || c == 'x' || c == '-') {
        letters += c;
      } else {
        refuse(fmt::format("group option '{}' is not supported", c));
      }
    }
    out_ += "(?" + letters + ":";
    if (c == ')') {  // applies up to the end of the group around it
      groups_.pop_back();
      ++groups_.back().implied;
    }
  }

  void close() {
    if (groups_.size() < 2) refuse("')' without '('");
    ++at_;
    out_.append(groups_.back().implied + 1, ')');
    atom_ = groups_.back().start;
    quantified_ = false;
    groups_.pop_back();
  }

  Set word_set() const {
    Set set{std::string(*find_name(kPosix, "word")) + young_of_posix("word"), {}, false};
    if (dialect_ == RegexDialect::kRust) set.items += R"(\p{Join_Control})";
    return set;
  }

  // Outside of classes Oniguruma's table for Latin-1 counts ² ³ ¹ ¼ ½ ¾ as word characters.
  std::string_view latin_word() const {
    return dialect_ == RegexDialect::kOniguruma ? R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})" : "";
  }

  // \s \w \h \p{..} … as a set; `negated` says which of \s and \S it was.
  std::optional<Set> class_escape(char c, bool& negated) {
    negated = c == 'S' || c == 'W' || c == 'H' || c == 'D' || c == 'P';
    switch (c) {
      case 's':
      case 'S':
        return Set{std::string(kSpace), {}, false};
      case 'w':
      case 'W':
        return word_set();
      case 'h':
      case 'H':
        return Set{"0-9A-Fa-f", {}, false};
      case 'd':
      case 'D':
        return Set{R"(\p{Nd})" + young_of_category("Nd"), {}, false};
      case 'p':
      case 'P':
        return property(negated);
      default:
        return std::nullopt;
    }
  }

  Set property(bool& negated) {
    std::string name;
    if (looking_at("{")) {
      const size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) refuse("\\p{ is not closed");
      name = in_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    } else {
      name = std::string(1, take());
    }
    if (name.starts_with("^")) {
      negated = !negated;
      name.erase(0, 1);
    }
    if (name == "punct" || name == "Punct") return category_set("P");  // unlike [[:punct:]]
    return named_set(name);
  }

  Set named_set(const std::string& name) {
    std::string key;
    for (const char c : name) {
      if (c == ' ' || c == '_' || c == '-') continue;
      key += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    if (key.empty() || !std::all_of(key.begin(), key.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '=' || c == ':' ||
                 c == '&';
        })) {
      refuse(fmt::format("property name '{}'", name));
    }
    if (key == "word") return word_set();
    if (key == "graph" || key == "print") return visible_set(key == "print");
    if (const auto* posix = find_name(kPosix, key)) {
      return {std::string(*posix) + young_of_posix(key), {}, false};
    }
    if (const auto* category = find_name(kCategories, key)) return category_set(*category);
    if (key.size() <= 2) {
      key[0] = static_cast<char>(key[0] - (key[0] >= 'a' ? 32 : 0));
      return category_set(key);
    }
    if (key == "alphabetic") return {R"(\p{Alphabetic})" + young_of_posix("alpha"), {}, false};
    const bool known = std::find(kBinary.begin(), kBinary.end(), key) != kBinary.end() ||
                       key.find_first_of("=:") != std::string::npos;
    if (known) return {"\\p{" + name + "}", {}, true};
    const std::string young =
        young_items([&](const unicode::YoungRange& r) { return r.script == key; });
    return {"\\p{sc:" + name + "}" + young, {}, young.empty()};
  }

  static Set category_set(std::string_view category) {
    if (category == "C" || category == "Cn") return without_young(category);
    std::string young = young_of_category(category);
    // U+1171E is a spacing mark since Unicode 16.
    if (category == "Mn") return {young, {R"((?:(?!\x{1171E})\p{Mn}))"}, false};
    if (category == "Mc") young += R"(\x{1171E})";
    return {fmt::format("\\p{{{}}}{}", category, young), {}, young.empty()};
  }

  // [[:graph:]] and [[:print:]], which also has spaces.
  static Set visible_set(bool spaces) {
    return {(spaces ? R"(\p{Zs})" : "") + young_of_posix("graph"),
            {R"([^\t-\r\x{85}\p{Z}\p{Cc}\p{Cn}\p{Cs}])"},
            false};
  }

  // A character escape after the backslash, as PCRE2 text; empty: not one.
  std::string char_escape(char c) {
    if (c == 'v') return "\\x0B";
    if (c == 'u') {
      if (at_ + 4 > in_.size()) refuse("\\u needs four hex digits");
      const std::string hex(in_.substr(at_, 4));
      at_ += 4;
      return "\\x{" + hex + "}";
    }
    if (c == 'x' && looking_at("{")) {
      const size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) refuse("\\x{ is not closed");
      const std::string text(in_.substr(at_, end + 1 - at_));
      at_ = end + 1;
      return "\\x" + text;
    }
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (static_cast<unsigned char>(c) >= 0x80) return std::string(1, c);
    if (!alnum || std::string_view("tnrfaex").find(c) != std::string_view::npos) {
      return std::string("\\") + c;
    }
    return {};
  }

  void escape() {
    const char c = take();
    bool negated = false;
    if (auto set = class_escape(c, negated)) {
      if (set->items == word_set().items) set->items += latin_word();
      return atom(negated ? set->negative() : set->positive());
    }
    if (c == 'b' || c == 'B') {
      Set word = word_set();
      word.items += latin_word();
      const std::string w = word.positive();
      const std::string edge = fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", w);
      return atom(c == 'b' ? edge : "(?!" + edge + ")");
    }
    if (c == 'O') return atom(kAnyChar);
    std::string text = char_escape(c);
    if (text.empty()) text = std::string("\\") + c;  // \1 \A \z \R \X \k … : the same
    if (c == 'k' || c == 'g') {
      const size_t end = in_.find('>', at_);
      if (!looking_at("<") || end == std::string_view::npos) refuse("\\k and \\g need <name>");
      text += in_.substr(at_, end + 1 - at_);
      at_ = end + 1;
    }
    atom(text);
  }

  // Behind '['. Union of items, nested classes and escapes; '&&' intersects what stands around it.
  std::string char_class() {
    if (++depth_ > 50) refuse("classes are nested too deeply");
    bool negated = false;
    if (looking_at("^")) {
      negated = true;
      ++at_;
    }
    std::vector<Set> parts(1);
    for (bool first = true;; first = false) {
      if (looking_at("&&")) {
        at_ += 2;
        parts.emplace_back();
        continue;
      }
      const char c = take();
      if (c == ']' && !first) break;
      class_item(c, parts.back());
    }
    --depth_;
    Set whole = std::move(parts.back());
    if (parts.size() > 1) {
      std::string all = "(?:";
      for (size_t i = 0; i + 1 < parts.size(); ++i) all += "(?=" + parts[i].positive() + ")";
      whole = {"", {all + whole.positive() + ")"}, false};
    }
    return negated ? whole.negative() : whole.positive();
  }

  void class_item(char c, Set& set) {
    if (c == '[') {
      if (looking_at(":") && posix_class(set)) return;
      set.atoms.push_back(char_class());
      return;
    }
    if (c == ']') {
      set.items += "\\]";
      return;
    }
    if (c != '\\') {
      if (c == '^') set.items += '\\';
      set.items += c;
      return;
    }
    const char e = take();
    bool negated = false;
    if (const auto escaped = class_escape(e, negated)) return add(*escaped, negated, set);
    if (e == 'b') {
      set.items += "\\x08";
      return;
    }
    std::string text = char_escape(e);
    if (text.empty() && e >= '0' && e <= '7') text = std::string("\\") + e;
    set.items += text.empty() ? std::string(1, e) : text;
  }

  static void add(const Set& what, bool negated, Set& to) {
    if (!negated) {
      to.items += what.items;
      to.atoms.insert(to.atoms.end(), what.atoms.begin(), what.atoms.end());
    } else if (what.single) {
      to.items += "\\P" + what.items.substr(2);
    } else {
      to.atoms.push_back(what.negative());
    }
  }

  bool posix_class(Set& set) {
    const size_t end = in_.find(":]", at_);
    if (end == std::string_view::npos) return false;
    std::string name(in_.substr(at_ + 1, end - at_ - 1));
    const bool negated = name.starts_with("^");
    if (negated) name.erase(0, 1);
    const bool known = name == "graph" || name == "print" || find_name(kPosix, name) != nullptr;
    if (!known) return false;
    at_ = end + 2;
    add(named_set(name), negated, set);
    return true;
  }

  std::string_view in_;
  RegexDialect dialect_;
  const std::string& source_;
  std::string out_;
  size_t at_ = 0;
  size_t atom_ = 0;  // where the atom that a quantifier would repeat begins in out_
  bool quantified_ = false;
  int depth_ = 0;
  std::vector<Group> groups_;
};

}  // namespace

std::string translate_regex(std::string_view pattern, RegexDialect dialect,
                            const std::string& source) {
  return Translator(pattern, dialect, source).run();
}

}  // namespace tokamak
