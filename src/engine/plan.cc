#include "engine/plan.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/json_integer.h"
#include "engine/plan_check.h"

namespace tokamak {
namespace {

constexpr std::string_view kStorageNames[] = {"activation", "view",      "weight",
                                              "token_ids",  "positions", "input"};

Storage parse_storage(const std::string& text) {
  for (size_t i = 0; i < std::size(kStorageNames); ++i)
    if (kStorageNames[i] == text) return static_cast<Storage>(i);
  fail("unknown storage '{}'", text);
}

template <typename T>
std::vector<T> integers(const Json& json) {
  if (!json.is_array()) fail("{} stands where a list belongs", json.type_name());
  std::vector<T> list;
  for (const Json& i : json) list.push_back(json_integer<T>(i));
  return list;
}

Json shape_json(const SymShape& shape) {
  Json j = Json::array();
  for (const Dim& d : shape) {
    if (d.fixed())
      j.push_back(d.size);
    else
      j.push_back(d.symbol == Symbol::tokens ? "tokens" : "sequences");
  }
  return j;
}

SymShape parse_shape(const Json& json) {
  SymShape shape;
  for (const Json& d : json) {
    if (d.is_number_integer()) {
      shape.emplace_back(json_integer<int64_t>(d));
    } else {
      const auto& s = d.get_ref<const std::string&>();
      if (s != "tokens" && s != "sequences") fail("unknown size '{}'", s);
      shape.emplace_back(s == "tokens" ? Symbol::tokens : Symbol::sequences);
    }
  }
  return shape;
}

Json value_json(const PlanValue& v) {
  Json j = {{"name", v.name},
            {"dtype", name(v.type.dtype)},
            {"shape", shape_json(v.type.shape)},
            {"storage", kStorageNames[static_cast<int>(v.storage)]}};
  if (v.type.is_weight) j["is_weight"] = true;
  if (v.base >= 0) j["base"] = v.base;
  if (v.column_begin != 0) j["column_begin"] = v.column_begin;
  return j;
}

PlanValue parse_value(const Json& j) {
  PlanValue v;
  v.name = j.at("name").get<std::string>();
  v.type.dtype = parse_dtype(j.at("dtype").get<std::string>());
  v.type.shape = parse_shape(j.at("shape"));
  v.type.is_weight = j.value("is_weight", false);
  v.storage = parse_storage(j.at("storage").get<std::string>());
  v.base = j.contains("base") ? json_integer<int32_t>(j["base"]) : -1;
  v.column_begin = j.contains("column_begin") ? json_integer<int64_t>(j["column_begin"]) : 0;
  return v;
}

Json choices_json(const std::vector<TacticChoice>& choices) {
  Json list = Json::array();
  for (const TacticChoice& c : choices) {
    Json j = {{"bucket", c.bucket}, {"tactic", c.tactic}, {"us", c.us}};
    Json losers = Json::array();
    for (const auto& [tactic, us] : c.losers) losers.push_back(Json::array({tactic, us}));
    if (!losers.empty()) j["losers"] = std::move(losers);
    list.push_back(std::move(j));
  }
  return list;
}

std::vector<TacticChoice> parse_choices(const Json& json) {
  std::vector<TacticChoice> choices;
  for (const Json& j : json) {
    TacticChoice c;
    c.bucket = json_integer<int32_t>(j.at("bucket"));
    c.tactic = j.at("tactic").get<std::string>();
    c.us = j.at("us").get<double>();
    if (const auto it = j.find("losers"); it != j.end())
      for (const Json& l : *it)
        c.losers.emplace_back(l.at(0).get<std::string>(), l.at(1).get<double>());
    choices.push_back(std::move(c));
  }
  return choices;
}

Json weight_json(const PlanWeight& w) {
  return {{"names", w.names},   {"dtype", name(w.dtype)}, {"shape", w.shape},
          {"layout", w.layout}, {"offset", w.offset},     {"bytes", w.bytes}};
}

PlanWeight parse_weight(const Json& j) {
  PlanWeight w;
  w.names = j.at("names").get<std::vector<std::string>>();
  w.dtype = parse_dtype(j.at("dtype").get<std::string>());
  w.shape = integers<int64_t>(j.at("shape"));
  w.layout = j.at("layout").get<std::string>();
  w.offset = json_integer<uint64_t>(j.at("offset"));
  w.bytes = json_integer<uint64_t>(j.at("bytes"));
  return w;
}

void parse_steps(const Json& json, Plan& plan) {
  std::vector<std::vector<TacticChoice>> tunings;
  for (const Json& t : json.at("tunings")) tunings.push_back(parse_choices(t));
  for (const Json& j : json.at("steps")) {
    PlanStep s;
    s.op = parse_op(j.at("op").get<std::string>());
    s.attrs = Attrs::from_json(j.at("attrs"));
    s.name = j.at("name").get<std::string>();
    s.inputs = integers<int32_t>(j.at("in"));
    s.outputs = integers<int32_t>(j.at("out"));
    const auto tuning = json_integer<size_t>(j.at("tuning"));
    if (tuning >= tunings.size()) fail("step '{}' has no tuning {}", s.name, tuning);
    s.choices = tunings[tuning];
    plan.steps.push_back(std::move(s));
  }
}

std::string hex(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

std::string parse_hex(const std::string& text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    fail("'{}' is no hexadecimal digit", c);
  };
  if (text.size() % 2) fail("{} hexadecimal digits; expected an even number", text.size());
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2)
    bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
  return bytes;
}

void parse_kv(const Json& kv, Plan& plan) {
  plan.kv_layers = json_integer<int32_t>(kv.at("layers"));
  plan.kv_heads = json_integer<int32_t>(kv.at("heads"));
  plan.head_dim = json_integer<int32_t>(kv.at("head_dim"));
  plan.kv_dtype = parse_dtype(kv.at("dtype").get<std::string>());
  plan.kv_windows = integers<int64_t>(kv.at("windows"));
}

}  // namespace

OpSignature Plan::signature(const PlanStep& step) const {
  OpSignature s{step.op, step.attrs, {}, {}};
  for (const int32_t i : step.inputs) s.inputs.push_back(values[i].type);
  for (const int32_t i : step.outputs) s.outputs.push_back(values[i].type);
  return s;
}

Json Plan::to_json() const {
  Json j = Json::object();
  j["values"] = Json::array();
  for (const PlanValue& v : values) j["values"].push_back(value_json(v));

  // Identical layers have identical choices: each list is written once.
  std::map<std::string, size_t> known;
  Json tunings = Json::array(), list = Json::array();
  for (const PlanStep& s : steps) {
    Json choices = choices_json(s.choices);
    const auto [it, added] = known.emplace(choices.dump(), tunings.size());
    if (added) tunings.push_back(std::move(choices));
    list.push_back({{"op", name(s.op)},
                    {"attrs", s.attrs.to_json()},
                    {"name", s.name},
                    {"in", s.inputs},
                    {"out", s.outputs},
                    {"tuning", it->second}});
  }
  j["steps"] = std::move(list);
  j["tunings"] = std::move(tunings);
  j["weights"] = Json::array();
  for (const PlanWeight& w : weights) j["weights"].push_back(weight_json(w));
  if (random_weights != 0) j["random_weights"] = random_weights;
  j["logits"] = logits;
  if (hidden >= 0) j["hidden"] = hidden;
  j["debug_outputs"] = debug_outputs;
  for (const auto& [key, bytes] : code) j["code"][key] = hex(bytes);
  j["kv"] = {{"layers", kv_layers},
             {"heads", kv_heads},
             {"head_dim", head_dim},
             {"dtype", name(kv_dtype)},
             {"windows", kv_windows}};
  return j;
}

Plan Plan::from_json(const Json& json) {
  Plan plan;
  try {
    for (const Json& v : json.at("values")) plan.values.push_back(parse_value(v));
    for (const Json& w : json.at("weights")) plan.weights.push_back(parse_weight(w));
    parse_steps(json, plan);
    if (json.contains("random_weights"))
      plan.random_weights = json_integer<uint64_t>(json["random_weights"]);
    plan.logits = json_integer<int32_t>(json.at("logits"));
    if (json.contains("hidden")) plan.hidden = json_integer<int32_t>(json["hidden"]);
    plan.debug_outputs = integers<int32_t>(json.at("debug_outputs"));
    if (json.contains("code"))
      for (const auto& [key, text] : json["code"].items())
        plan.code.emplace_back(key, parse_hex(text.get<std::string>()));
    parse_kv(json.at("kv"), plan);
  } catch (const nlohmann::json::exception& e) {
    fail("plan: malformed field ({})", e.what());
  } catch (const Error& e) {
    fail("plan: {}", e.what());
  }
  check_plan(plan);
  return plan;
}

Shape shape_of(const PlanWeight& w) { return Shape(std::span<const int64_t>(w.shape)); }

bool is_row_step(const Plan& plan, const PlanStep& step) {
  return std::any_of(step.outputs.begin(), step.outputs.end(), [&](int32_t o) {
    const SymShape& shape = plan.values[o].type.shape;
    return !shape.empty() && shape[0].symbol == Symbol::sequences;
  });
}

}  // namespace tokamak
