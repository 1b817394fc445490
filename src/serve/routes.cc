#include "serve/routes.h"

#include <nlohmann/json.hpp>

#include "serve/fields.h"
#include "serve/openapi.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"
#include "serve/tool_fields.h"
#include "text/tokenizer.h"
#include "tokamak/version.h"

namespace tokamak::serve {
namespace {

using CallPtr = std::shared_ptr<Call>;

Json lora_json(const EngineRoom& room, const LoraModels::Model& m) {
  return {{"id", m.name},
          {"object", "model"},
          {"created", room.created},
          {"owned_by", "tokamak"},
          {"root", m.path},
          {"parent", room.model},
          {"max_model_len", room.max_model_len}};
}

Json model_json(const EngineRoom& room) {
  return {{"id", room.model},      {"object", "model"},  {"created", room.created},
          {"owned_by", "tokamak"}, {"root", room.model}, {"max_model_len", room.max_model_len}};
}

void get_health(EngineRoom& room, const CallPtr& call) {
  if (room.draining) throw ApiError(503, "the server is shutting down");
  call->json(200, {{"status", "ok"}});
}

void get_model(EngineRoom& room, const CallPtr& call) {
  const std::string id = call->request().path.substr(std::string("/v1/models/").size());
  room.loras.find(id);
  for (const LoraModels::Model& m : room.loras.list())
    if (m.name == id) return call->json(200, lora_json(room, m));
  call->json(200, model_json(room));
}

void get_models(EngineRoom& room, const CallPtr& call) {
  Json data = Json::array({model_json(room)});
  for (const LoraModels::Model& m : room.loras.list()) data.push_back(lora_json(room, m));
  call->json(200, {{"object", "list"}, {"data", std::move(data)}});
}

std::string need_string(const Fields& f, const char* name) {
  const auto text = f.string(name);
  if (!text || text->empty()) f.wrong(name, "a string");
  return *text;
}

// They name files of this machine: only where the operator allows it.
void check_lora_updates(const EngineRoom& room) {
  if (!room.allow_lora_updates)
    throw ApiError(403, "adapters may not be changed here (--allow_runtime_lora_updating)", {},
                   "permission_denied");
}

void post_load_lora(EngineRoom& room, const CallPtr& call) {
  check_lora_updates(room);
  const Json body = call->body();
  const Fields f(body);
  const std::string name = need_string(f, "lora_name");
  room.loras.load(name, need_string(f, "lora_path"), f.flag("load_inplace"));
  call->text(200, "text/plain; charset=utf-8",
             fmt::format("Success: LoRA adapter '{}' added successfully.", name));
}

void post_unload_lora(EngineRoom& room, const CallPtr& call) {
  check_lora_updates(room);
  const Json body = call->body();
  const std::string name = need_string(Fields(body), "lora_name");
  room.loras.unload(name);
  call->text(200, "text/plain; charset=utf-8",
             fmt::format("Success: LoRA adapter '{}' removed successfully.", name));
}

void post_tokenize(EngineRoom& room, const CallPtr& call) {
  const Json body = call->body();
  const Fields f(body);
  check_model(f, room);
  std::vector<int32_t> ids;
  if (f.find("messages")) {
    const OrderedJson ordered = call->ordered_body();
    const ToolUse tools = read_tools(ordered);
    ids = chat_prompt(room, ordered["messages"], &tools);
  } else {
    if (!f.get("prompt").is_string()) f.wrong("prompt", "a string");
    ids = room.need_tokenizer("prompt").encode(
        *f.string("prompt"), {.add_special = f.boolean("add_special_tokens").value_or(true)});
  }
  Json answer = {{"count", ids.size()}, {"max_model_len", room.max_model_len}, {"tokens", ids}};
  if (f.flag("return_token_strs")) {
    answer["token_strs"] = Json::array();
    for (const int32_t id : ids) answer["token_strs"].push_back(room.tokenizer->piece(id));
  }
  call->json(200, answer);
}

void post_detokenize(EngineRoom& room, const CallPtr& call) {
  const Json body = call->body();
  const Fields f(body);
  check_model(f, room);
  f.get("tokens");
  const Tokenizer& tokenizer = room.need_tokenizer("tokens");
  const int64_t known = std::min<int64_t>(room.vocab_size, tokenizer.vocab_size());
  call->json(200, {{"prompt", tokenizer.decode(f.ids("tokens", known))}});
}

void get_tokenizer_info(EngineRoom& room, const CallPtr& call) {
  if (!room.tokenizer) throw ApiError(404, fmt::format("'{}' has no tokenizer", room.model));
  const Tokenizer& t = *room.tokenizer;
  const auto piece = [&](std::optional<int32_t> id) { return id ? Json(t.piece(*id)) : Json(); };
  call->json(200, {{"bos_token", piece(t.bos_id())},
                   {"eos_token", piece(t.eos_id())},
                   {"unk_token", piece(t.unk_id())},
                   {"pad_token", piece(t.pad_id())},
                   {"vocab_size", t.vocab_size()},
                   {"model_max_length", room.max_model_len}});
}

void get_page(const CallPtr& call) {
  call->text(200, "text/html; charset=utf-8", std::string(page_html()),
             {{"Content-Security-Policy",
               "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
               "connect-src 'self'; img-src data:; form-action 'none'; frame-ancestors 'none'"},
              {"X-Content-Type-Options", "nosniff"},
              {"Referrer-Policy", "no-referrer"}});
}

void get_metrics(EngineRoom& room, const CallPtr& call) {
  call->text(200, "text/plain; version=0.0.4; charset=utf-8",
             room.metrics.print(room.executor.stats()));
}

void get_openapi(EngineRoom& room, const CallPtr& call) { call->json(200, openapi_document(room)); }

}  // namespace

Routes::Routes(EngineRoom& room, const TokenText& tokens) : room_(room), tokens_(tokens) {
  constexpr bool kOpen = true;
  const auto with_room = [this](void (*f)(EngineRoom&, const CallPtr&)) {
    return [this, f](const CallPtr& call) { f(room_, call); };
  };
  add("GET", "/health", with_room(get_health), kOpen);
  add("GET", "/ping", with_room(get_health), kOpen);
  add(
      "GET", "/version",
      [](const CallPtr& c) {
        c->json(200, {{"version", kVersion}});
      },
      kOpen);
  add("GET", "/metrics", with_room(get_metrics), kOpen);
  add("GET", "/openapi.json", with_room(get_openapi), kOpen);
  add("GET", "/v1/models", with_room(get_models));
  add("POST", "/v1/load_lora_adapter", with_room(post_load_lora));
  add("POST", "/v1/unload_lora_adapter", with_room(post_unload_lora));
  add("GET", "/v1/models/*", with_room(get_model));
  add("POST", "/v1/completions", [this](const CallPtr& c) { post_completions(room_, tokens_, c); });
  add("POST", "/v1/chat/completions",
      [this](const CallPtr& c) { post_chat_completions(room_, tokens_, c); });
  add("POST", "/v1/embeddings", [this](const CallPtr& c) { post_embeddings(room_, c); });
  add("POST", "/v1/messages", [this](const CallPtr& c) { post_messages(room_, c); });
  const auto kserve = [this](const CallPtr& c) { handle_kserve(room_, c); };
  for (const char* path : {"/v2", "/v2/health/live", "/v2/health/ready"}) add("GET", path, kserve);
  for (const char* model : {"/v2/models/*", "/v2/models/*/versions/1"}) {
    for (const char* what : {"", "/ready"}) add("GET", model + std::string(what), kserve);
    for (const char* what : {"/generate", "/generate_stream", "/infer"})
      add("POST", model + std::string(what), kserve);
  }
  add("GET", "/", get_page, kOpen);
  add("GET", "/tokenizer_info", with_room(get_tokenizer_info));
  add("POST", "/tokenize", with_room(post_tokenize));
  add("POST", "/detokenize", with_room(post_detokenize));
}

void Routes::add(const char* method, const std::string& path, Handler handler, bool open) {
  routes_.push_back({method, path, std::move(handler), open});
}

namespace {

// *: whatever stands there, slashes too.
bool matches(const std::string& pattern, const std::string& path) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return pattern == path;
  return path.size() >= pattern.size() && path.compare(0, star, pattern, 0, star) == 0 &&
         path.ends_with(std::string_view(pattern).substr(star + 1));
}

}  // namespace

// Of the patterns that fit the one that says most.
std::string Routes::pattern_of(const std::string& path) const {
  std::string best;
  for (const Route& r : routes_)
    if (matches(r.path, path) && r.path.size() > best.size()) best = r.path;
  return best;
}

const Routes::Route* Routes::find(const HttpRequest& request) const {
  const std::string& method = request.method == "HEAD" ? "GET" : request.method;
  const std::string pattern = pattern_of(request.path);
  for (const Route& r : routes_)
    if (r.method == method && r.path == pattern) return &r;
  return nullptr;
}

bool Routes::is_open(const HttpRequest& request) const {
  const Route* route = find(request);
  return route && route->open;
}

void Routes::handle(const std::shared_ptr<Call>& call) {
  const HttpRequest& request = call->request();
  if (const Route* route = find(request)) return route->handler(call);
  std::string allowed;
  const std::string pattern = pattern_of(request.path);
  for (const Route& r : routes_)
    if (r.path == pattern) allowed += (allowed.empty() ? "" : ", ") + r.method;
  if (allowed.empty())
    throw ApiError(404, fmt::format("there is no {} here", request.path), {}, "unknown_url");
  call->json(
      405,
      error_object(405, fmt::format("{} takes {}, not {}", request.path, allowed, request.method)),
      {{"Allow", allowed}});
}

}  // namespace tokamak::serve
