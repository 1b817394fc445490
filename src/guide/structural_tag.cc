#include "guide/structural_tag.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "guide/char_reader.h"
#include "guide/json_schema.h"
#include "guide/regex.h"

namespace tokamak::guide {
namespace {

constexpr int kMostNesting = 64;

ExprPtr any(int64_t least = 0) { return repeat(chars(any_char()), least, kUnbounded); }

ExprPtr one_of(const std::vector<std::string>& texts) {
  std::vector<ExprPtr> ways;
  for (const std::string& t : texts) ways.push_back(literal(t));
  return choice(std::move(ways));
}

// Texts in which none of these stands.
ExprPtr text_without(const std::vector<std::string>& words) {
  if (words.empty()) return any();
  return minus(any(), sequence({any(), one_of(words), any()}));
}

// Texts that end with `word`, none of `words` standing before.
ExprPtr text_until(const std::string& word, const std::vector<std::string>& words) {
  return minus(sequence({any(), literal(word)}), sequence({any(), one_of(words), any(1)}));
}

class Reader {
 public:
  Reader(Rules& rules, JsonText& json) : rules_(rules), json_(json) {}

  ExprPtr read(const OrderedJson& spec) {
    object(spec, "structural_tag");
    if (const OrderedJson* f = find(spec, "format")) return format(*f, "format", {});
    if (!find(spec, "structures") || !find(spec, "triggers"))
      fail("structural_tag: expected format, or structures and triggers");
    std::vector<Tag> tags;
    each(spec, "", "structures", [&](const OrderedJson& s, const std::string& at) {
      Tag t{text(s, at, "begin"), {}, {text(s, at, "end")}};
      t.content = schema(find(object(s, at), "schema"), at + ".schema");
      tags.push_back(std::move(t));
    });
    return triggered(spec, "", std::move(tags), {});
  }

 private:
  struct Tag {
    std::string begin;
    ExprPtr content;
    std::vector<std::string> ends;  // one of them
    bool until_end = false;         // any text up to the end, which is part of the content
    ExprPtr whole(size_t skip = 0) const {
      const ExprPtr first = literal(begin.substr(skip));
      return until_end ? sequence({first, content}) : sequence({first, content, one_of(ends)});
    }
  };

  static const OrderedJson* find(const OrderedJson& o, const char* name) {
    const auto it = o.find(name);
    return it == o.end() || it->is_null() ? nullptr : &*it;
  }
  static std::string place(const std::string& at, const char* name) {
    return at.empty() ? name : at + "." + name;
  }
  static const OrderedJson& object(const OrderedJson& v, const std::string& at) {
    if (!v.is_object()) fail("{}: expected an object", at);
    return v;
  }
  static const OrderedJson& need(const OrderedJson& v, const std::string& at, const char* name) {
    if (const OrderedJson* f = find(object(v, at), name)) return *f;
    fail("{} is missing", place(at, name));
  }
  static std::string text_of(const OrderedJson& v, const std::string& at) {
    if (!v.is_string()) fail("{}: expected a string", at);
    auto s = v.get<std::string>();
    from_utf8(s, at);
    return s;
  }
  static std::string text(const OrderedJson& v, const std::string& at, const char* name) {
    return text_of(need(v, at, name), place(at, name));
  }
  static bool flag(const OrderedJson& v, const std::string& at, const char* name) {
    const OrderedJson* f = find(v, name);
    if (f && !f->is_boolean()) fail("{}: expected true or false", place(at, name));
    return f && f->get<bool>();
  }
  template <typename F>
  static void each(const OrderedJson& v, const std::string& at, const char* name, const F& f) {
    const OrderedJson& list = need(v, at, name);
    if (!list.is_array() || list.empty())
      fail("{}: expected an array that is not empty", place(at, name));
    for (size_t i = 0; i < list.size(); ++i) f(list[i], fmt::format("{}[{}]", place(at, name), i));
  }

  // None: any JSON.
  ExprPtr schema(const OrderedJson* v, const std::string& at) {
    if (!v) return json_schema(rules_, json_, true);
    if (v->is_string())
      return json_schema(rules_, json_, parse_ordered_json(v->get<std::string>(), at));
    if (!v->is_object() && !v->is_boolean()) fail("{}: expected a JSON schema", at);
    return json_schema(rules_, json_, *v);
  }

  std::vector<std::string> ends_of(const OrderedJson& v, const std::string& at) {
    if (!need(v, at, "end").is_array()) return {text(v, at, "end")};
    std::vector<std::string> ends;
    each(v, at, "end", [&](const OrderedJson& e, const std::string& where) {
      ends.push_back(text_of(e, where));
    });
    return ends;
  }

  Tag tag(const OrderedJson& v, const std::string& at) {
    Tag t{text(v, at, "begin"), {}, ends_of(v, at)};
    const OrderedJson& content = need(v, at, "content");
    const bool closed = std::ranges::none_of(t.ends, &std::string::empty);
    t.until_end =
        closed && object(content, at + ".content").value("type", OrderedJson()) == "any_text";
    if (t.until_end) {
      std::vector<ExprPtr> ways;
      for (const std::string& e : t.ends) ways.push_back(text_until(e, t.ends));
      t.content = choice(std::move(ways));
    } else {
      t.content = format(content, at + ".content", closed ? t.ends : std::vector<std::string>());
    }
    return t;
  }

  std::vector<Tag> tags(const OrderedJson& v, const std::string& at) {
    std::vector<Tag> all;
    each(v, at, "tags",
         [&](const OrderedJson& t, const std::string& where) { all.push_back(tag(t, where)); });
    return all;
  }

  // `behind`: what follows, which free text must not hold.
  ExprPtr triggered(const OrderedJson& v, const std::string& at, std::vector<Tag> tags,
                    std::vector<std::string> behind) {
    std::vector<std::string> triggers;
    each(v, at, "triggers", [&](const OrderedJson& t, const std::string& where) {
      triggers.push_back(text_of(t, where));
      if (triggers.back().empty()) fail("{} is empty", where);
    });
    std::vector<std::string> words = triggers;
    words.insert(words.end(), behind.begin(), behind.end());
    std::vector<bool> used(tags.size());
    std::vector<ExprPtr> ways;
    for (const std::string& trigger : triggers) {
      std::vector<ExprPtr> rest;
      for (size_t i = 0; i < tags.size(); ++i)
        if (tags[i].begin.starts_with(trigger)) {
          rest.push_back(tags[i].whole(trigger.size()));
          used[i] = true;
        }
      if (rest.empty()) continue;  // the word is not to be said
      const int32_t tag = rules_.add("tags of " + trigger, choice(std::move(rest)), true);
      ways.push_back(sequence({text_until(trigger, words), rule(tag)}));
    }
    for (size_t i = 0; i < tags.size(); ++i)
      if (!used[i]) fail("no trigger begins the tag '{}'", tags[i].begin);
    const ExprPtr one = choice(std::move(ways)), free = text_without(words);
    const bool needed = flag(v, at, "at_least_one");
    if (flag(v, at, "stop_after_first")) return needed ? one : choice({one, free});
    return sequence({repeat(one, needed ? 1 : 0, kUnbounded), free});
  }

  ExprPtr separated(const OrderedJson& v, const std::string& at) {
    std::vector<ExprPtr> ways;
    for (const Tag& t : tags(v, at)) ways.push_back(t.whole());
    const ExprPtr one = rule(rules_.add("tags", choice(std::move(ways)), true));
    const ExprPtr more = sequence({literal(text(v, at, "separator")), one});
    const int64_t least = flag(v, at, "at_least_one") ? 1 : 0;
    if (flag(v, at, "stop_after_first")) return repeat(one, least, 1);
    return repeat(sequence({one, repeat(more, 0, kUnbounded)}), least, 1);
  }

  ExprPtr elements(const OrderedJson& v, const std::string& at, bool all,
                   const std::vector<std::string>& behind) {
    std::vector<ExprPtr> parts;
    each(v, at, "elements", [&](const OrderedJson& e, const std::string& where) {
      parts.push_back(format(e, where, behind));
    });
    return all ? sequence(std::move(parts)) : choice(std::move(parts));
  }

  ExprPtr format(const OrderedJson& v, const std::string& at,
                 const std::vector<std::string>& behind) {
    if (++depth_ > kMostNesting) fail("{}: formats nest too deeply", at);
    const ExprPtr e = format_of(text(v, at, "type"), v, at, behind);
    --depth_;
    return e;
  }
  ExprPtr format_of(const std::string& type, const OrderedJson& v, const std::string& at,
                    const std::vector<std::string>& behind) {
    if (type == "triggered_tags") return triggered(v, at, tags(v, at), behind);
    if (type == "tags_with_separator") return separated(v, at);
    if (type == "tag") return tag(v, at).whole();
    if (type == "sequence") return elements(v, at, true, behind);
    if (type == "or") return elements(v, at, false, behind);
    if (type == "any_text") return text_without(behind);
    if (type == "const_string") return literal(text(v, at, "value"));
    if (type == "json_schema") return schema(&need(v, at, "json_schema"), at + ".json_schema");
    if (type == "regex") return regex_full(text(v, at, "pattern"), at);
    fail(
        "{}.type is '{}'; expected triggered_tags, tags_with_separator, tag, sequence, or, "
        "any_text, const_string, json_schema or regex",
        at, type);
  }

  Rules& rules_;
  JsonText& json_;
  int depth_ = 0;
};

}  // namespace

ExprPtr structural_tag(Rules& rules, JsonText& json, const OrderedJson& spec) {
  return Reader(rules, json).read(spec);
}

}  // namespace tokamak::guide
