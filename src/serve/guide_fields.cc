#include "serve/guide_fields.h"

#include <nlohmann/json.hpp>

namespace tokamak::serve {
namespace {

using Kind = GuideSpec::Kind;

struct Wanted {
  std::string field;  // for errors
  GuideSpec spec;
};

[[noreturn]] void wrong(const std::string& field, const OrderedJson& found, const char* expected) {
  throw ApiError(400,
                 fmt::format("{}: expected {}, found {}", field, expected, describe(Json(found))),
                 field, "invalid_value");
}

// A schema as an object or as text.
std::string schema_text(const OrderedJson& v, const std::string& field) {
  if (v.is_string()) return v.get<std::string>();
  if (!v.is_object() && !v.is_boolean()) wrong(field, v, "a JSON schema");
  return v.dump();
}

std::string text_of(const OrderedJson& v, const std::string& field) {
  if (!v.is_string()) wrong(field, v, "a string");
  return v.get<std::string>();
}

std::vector<std::string> choices_of(const OrderedJson& v, const std::string& field) {
  if (!v.is_array()) wrong(field, v, "an array of strings");
  std::vector<std::string> out;
  for (const OrderedJson& item : v) out.push_back(text_of(item, field));
  return out;
}

const OrderedJson* find(const OrderedJson& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// response_format.
void read_format(const OrderedJson& format, std::vector<Wanted>& out) {
  const std::string field = "response_format";
  if (!format.is_object()) wrong(field, format, "an object");
  const OrderedJson* type = find(format, "type");
  const std::string kind = type ? text_of(*type, field + ".type") : "";
  if (kind == "text") return;
  if (kind == "json_object") return out.push_back({field, {.kind = Kind::json_object}});
  if (kind == "structural_tag")
    return out.push_back({field, {.kind = Kind::structural_tag, .text = format.dump()}});
  if (kind != "json_schema")
    wrong(field + ".type", type ? *type : OrderedJson(),
          "text, json_object, json_schema or structural_tag");
  const OrderedJson* named = find(format, "json_schema");
  if (!named || !named->is_object())
    wrong(field + ".json_schema", named ? *named : OrderedJson(), "an object");
  const OrderedJson* schema = find(*named, "schema");
  if (!schema) return out.push_back({field, {.kind = Kind::json_object}});
  const std::string where = field + ".json_schema.schema";
  out.push_back({where, {.kind = Kind::json_schema, .text = schema_text(*schema, where)}});
}

// `object` has the fields under `prefix` + their names.
void read_guided(const OrderedJson& object, const std::string& prefix, std::vector<Wanted>& out) {
  const auto take = [&](const char* name, auto make) {
    const OrderedJson* v = find(object, (prefix.back() == '_' ? prefix + name : name).c_str());
    if (v) out.push_back({prefix + name, make(*v, prefix + name)});
  };
  take("json", [](const OrderedJson& v, const std::string& field) {
    return GuideSpec{.kind = Kind::json_schema, .text = schema_text(v, field)};
  });
  take("regex", [](const OrderedJson& v, const std::string& field) {
    return GuideSpec{.kind = Kind::regex, .text = text_of(v, field)};
  });
  take("grammar", [](const OrderedJson& v, const std::string& field) {
    return GuideSpec{.kind = Kind::grammar, .text = text_of(v, field)};
  });
  take("choice", [](const OrderedJson& v, const std::string& field) {
    return GuideSpec{.kind = Kind::choice, .choices = choices_of(v, field)};
  });
}

void read_structured(const OrderedJson& s, std::vector<Wanted>& out) {
  const std::string field = "structured_outputs";
  if (!s.is_object()) wrong(field, s, "an object");
  if (find(s, "whitespace_pattern"))
    throw ApiError(400, field + ".whitespace_pattern is not supported by this server",
                   field + ".whitespace_pattern", "unsupported_parameter");
  const size_t before = out.size();
  read_guided(s, field + ".", out);
  if (const OrderedJson* tag = find(s, "structural_tag"))
    out.push_back({field + ".structural_tag",
                   {.kind = Kind::structural_tag,
                    .text = tag->is_string() ? tag->get<std::string>() : tag->dump()}});
  const OrderedJson* object = find(s, "json_object");
  if (object && *object == true)
    out.push_back({field + ".json_object", {.kind = Kind::json_object}});
  const OrderedJson* compact = find(s, "disable_any_whitespace");
  for (size_t i = before; i < out.size(); ++i) out[i].spec.compact = compact && *compact == true;
}

}  // namespace

std::shared_ptr<const Guide> make_guide(const GuideSpec& spec, const EngineRoom& room,
                                        const std::string& field) {
  room.need_tokenizer(field.c_str());
  try {
    return room.llm.guide(spec);
  } catch (const Error& e) {
    throw ApiError(400, fmt::format("{}: {}", field, e.what()), field, "invalid_value");
  }
}

std::shared_ptr<const Guide> read_guide(const Fields& fields, const Call& call,
                                        const EngineRoom& room) {
  bool any = false;
  for (const char* name : {"response_format", "structured_outputs", "guided_json", "guided_regex",
                           "guided_grammar", "guided_choice"})
    any = any || fields.find(name);
  if (!any) return nullptr;
  const OrderedJson body = call.ordered_body();
  std::vector<Wanted> wanted;
  if (const OrderedJson* format = find(body, "response_format")) read_format(*format, wanted);
  if (const OrderedJson* s = find(body, "structured_outputs")) read_structured(*s, wanted);
  read_guided(body, "guided_", wanted);
  if (wanted.empty()) return nullptr;
  if (wanted.size() > 1)
    throw ApiError(
        400, fmt::format("{} and {}: an output has one form", wanted[0].field, wanted[1].field),
        wanted[1].field, "invalid_value");
  return make_guide(wanted[0].spec, room, wanted[0].field);
}

}  // namespace tokamak::serve
