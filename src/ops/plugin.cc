#include "ops/plugin.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/shared_library.h"

namespace tokamak {
namespace {

constexpr std::array<DType, 4> kDtypes = {DType::f32, DType::f16, DType::bf16, DType::i32};

bool is_name(const char* text) {
  if (text == nullptr || *text == 0) return false;
  return std::all_of(text, text + std::strlen(text), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// Structs may grow at their end; those of this interface's first version are the least.
void check_op(const std::string& path, const tokamak_op* op) {
  if (op == nullptr || op->struct_bytes < sizeof(tokamak_op))
    fail("plug-in '{}': an op's struct is too small for ABI {}", path, TOKAMAK_PLUGIN_ABI);
  if (!is_name(op->name))
    fail("plug-in '{}': op name '{}'; expected letters, digits and _", path,
         op->name ? op->name : "");
  const auto need = [&](bool there, const char* what) {
    if (!there) fail("plug-in '{}': op '{}' lacks {}", path, op->name, what);
  };
  need(op->create != nullptr, "create");
  need(op->destroy != nullptr, "destroy");
  need(op->infer != nullptr, "infer");
  need(op->run_cpu != nullptr || op->run_cuda != nullptr, "both run_cpu and run_cuda");
  if (const tokamak_layout* l = op->layout) {
    need(l->struct_bytes >= sizeof(tokamak_layout) && is_name(l->name), "a named layout");
    need(l->packed_bytes && l->pack && l->unpack && l->row_step > 0,
         "packed_bytes, pack, unpack or row_step of its layout");
  }
}

std::string error_text(const tokamak_error& e) {
  return std::string(e.text, strnlen(e.text, sizeof e.text));
}

tokamak_type to_plugin(const ValueType& t) {
  tokamak_type p{};
  p.dtype = plugin_dtype(t.dtype);
  if (t.shape.size() > TOKAMAK_MAX_DIMS) fail("{} has too many dimensions for a plug-in", str(t));
  p.dims = static_cast<int32_t>(t.shape.size());
  for (size_t i = 0; i < t.shape.size(); ++i) {
    const int symbol = t.shape[i].symbol == Symbol::tokens ? TOKAMAK_TOKENS : TOKAMAK_SEQUENCES;
    p.size[i] = t.shape[i].fixed() ? t.shape[i].size : symbol;
  }
  p.is_weight = t.is_weight;
  return p;
}

std::vector<tokamak_type> to_plugin(const std::vector<ValueType>& types) {
  std::vector<tokamak_type> list;
  for (const ValueType& t : types) list.push_back(to_plugin(t));
  return list;
}

ValueType from_plugin(const std::string& label, const tokamak_type& p) {
  if (p.dtype < 0 || p.dtype >= static_cast<int32_t>(kDtypes.size()) || p.dims < 1 ||
      p.dims > TOKAMAK_MAX_DIMS)
    fail("plug-in op '{}': an output has dtype {} and {} dimensions", label, p.dtype, p.dims);
  ValueType t{kDtypes[static_cast<size_t>(p.dtype)], {}};
  for (int32_t i = 0; i < p.dims; ++i) {
    const bool symbolic = p.size[i] == TOKAMAK_TOKENS || p.size[i] == TOKAMAK_SEQUENCES;
    if (symbolic ? i > 0 : p.size[i] <= 0)
      fail("plug-in op '{}': size {} as dimension {} of an output", label, p.size[i], i);
    t.shape.push_back(p.size[i] == TOKAMAK_TOKENS      ? Dim(Symbol::tokens)
                      : p.size[i] == TOKAMAK_SEQUENCES ? Dim(Symbol::sequences)
                                                       : Dim(p.size[i]));
  }
  if (!t.shape.back().fixed())
    fail("plug-in op '{}': an output is {}; expected rows of known width", label, str(t));
  return t;
}

// Reads what str(ValueType) writes of an activation: "f32[tokens, 576]".
ValueType parse_type(std::string_view text) {
  const size_t open = text.find('[');
  if (open == text.npos || text.back() != ']') fail("plugin: '{}' is no type", text);
  ValueType t{parse_dtype(text.substr(0, open)), {}};
  std::string_view sizes = text.substr(open + 1, text.size() - open - 2);
  while (!sizes.empty()) {
    const std::string_view one = sizes.substr(0, sizes.find(", "));
    sizes.remove_prefix(std::min(sizes.size(), one.size() + 2));
    int64_t n = 0;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), n);
    const bool number = error == std::errc() && end == one.data() + one.size() && n > 0;
    if (!number && one != "tokens" && one != "sequences") fail("plugin: '{}' is no type", text);
    t.shape.push_back(number            ? Dim(n)
                      : one == "tokens" ? Dim(Symbol::tokens)
                                        : Dim(Symbol::sequences));
  }
  return t;
}

struct Cost {
  double bytes, operations;
};

double bytes_of(const ValueType& t, int64_t tokens) {
  double n = static_cast<double>(row_bytes(t.dtype, 1));
  for (const Dim& d : t.shape) n *= static_cast<double>(d.resolve(tokens, tokens));
  return n;
}

Cost cost_of(const PluginOp& op, const std::vector<ValueType>& in,
             const std::vector<ValueType>& out, int64_t tokens) {
  Cost c{0, 0};
  if (op.functions().cost != nullptr) {
    const auto types = to_plugin(in);
    op.functions().cost(op.object(), types.data(), static_cast<int32_t>(types.size()), tokens,
                        tokens, &c.bytes, &c.operations);
    return c;
  }
  for (const ValueType& t : in) c.bytes += bytes_of(t, tokens);
  for (const ValueType& t : out) {
    c.bytes += bytes_of(t, tokens);
    c.operations += bytes_of(t, tokens) / static_cast<double>(row_bytes(t.dtype, 1));
  }
  return c;
}

}  // namespace

int32_t plugin_dtype(DType t) {
  const auto it = std::find(kDtypes.begin(), kDtypes.end(), t);
  if (it == kDtypes.end())
    fail("plug-in ops take f32, f16, bf16 and i32, not {}", tokamak::name(t));
  return static_cast<int32_t>(it - kDtypes.begin());
}

std::shared_ptr<const PluginLibrary> PluginLibrary::load(const std::string& path) {
  // A bare name is a file here, not one of the system's libraries.
  const std::string file = path.find('/') == path.npos ? "./" + path : path;
  std::string why;
  const auto library = SharedLibrary::open(file, &why);
  if (!library) fail("plug-in '{}' cannot be loaded: {}", path, why);
  void* entry = library->find(TOKAMAK_PLUGIN_ENTRY);
  if (entry == nullptr)
    fail("'{}' is no plug-in: it has no function {}", path, TOKAMAK_PLUGIN_ENTRY);
  const tokamak_plugin* p = reinterpret_cast<tokamak_plugin_entry_function>(entry)();
  if (p == nullptr) fail("plug-in '{}': {} returned null", path, TOKAMAK_PLUGIN_ENTRY);
  if (p->abi != TOKAMAK_PLUGIN_ABI)
    fail("plug-in '{}' is made for version {} of the plug-in interface; this program has {}", path,
         p->abi, TOKAMAK_PLUGIN_ABI);
  if (p->struct_bytes < sizeof(tokamak_plugin) || !is_name(p->name) || p->version == nullptr ||
      p->op_count == 0 || p->ops == nullptr)
    fail("plug-in '{}' lacks a name, a version or ops", path);
  for (uint32_t i = 0; i < p->op_count; ++i) check_op(path, p->ops[i]);
  return std::shared_ptr<const PluginLibrary>(new PluginLibrary(path, p));
}

const tokamak_op* PluginLibrary::find(std::string_view op) const {
  for (const tokamak_op* o : ops())
    if (op == o->name) return o;
  return nullptr;
}

PluginOp::PluginOp(std::shared_ptr<const PluginLibrary> library, const tokamak_op& op,
                   const PluginAttributes& attributes)
    : library_(std::move(library)), op_(op) {
  std::vector<tokamak_attribute> list;
  for (const auto& [name, value] : attributes) list.push_back({name.c_str(), value.c_str()});
  tokamak_error error{};
  object_ = op.create(list.data(), static_cast<int32_t>(list.size()), &error);
  if (object_ == nullptr) fail("plug-in op '{}': {}", label(), error_text(error));
}

PluginOp::~PluginOp() { op_.destroy(object_); }

std::string PluginOp::label() const { return fmt::format("{}.{}", library_->name(), op_.name); }

std::vector<ValueType> PluginOp::infer(const std::vector<ValueType>& inputs) const {
  if (inputs.size() > TOKAMAK_MAX_OPERANDS)
    fail("plug-in op '{}': {} operands; at most {}", label(), inputs.size(), +TOKAMAK_MAX_OPERANDS);
  const auto types = to_plugin(inputs);
  std::array<tokamak_type, TOKAMAK_MAX_OUTPUTS> out{};
  tokamak_error error{};
  const int32_t n =
      op_.infer(object_, types.data(), static_cast<int32_t>(types.size()), out.data(), &error);
  if (n < 0) fail("plug-in op '{}': {}", label(), error_text(error));
  if (n == 0 || n > TOKAMAK_MAX_OUTPUTS)
    fail("plug-in op '{}' has {} outputs; expected 1 to {}", label(), n, +TOKAMAK_MAX_OUTPUTS);
  std::vector<ValueType> result;
  for (int32_t i = 0; i < n; ++i)
    result.push_back(from_plugin(label(), out[static_cast<size_t>(i)]));
  return result;
}

size_t PluginOp::scratch_bytes(const std::vector<ValueType>& inputs, int64_t tokens,
                               int64_t sequences, int workers) const {
  if (op_.scratch_bytes == nullptr) return 0;
  const auto types = to_plugin(inputs);
  return op_.scratch_bytes(object_, types.data(), static_cast<int32_t>(types.size()), tokens,
                           sequences, workers);
}

Attrs plugin_attrs(const std::shared_ptr<const PluginLibrary>& library, const tokamak_op& op,
                   const PluginAttributes& attributes, const std::vector<ValueType>& inputs) {
  const PluginOp made(library, op, attributes);
  const std::vector<ValueType> outputs = made.infer(inputs);
  Attrs a;
  a.set("library", std::string(library->name()));
  a.set("version", std::string(library->version()));
  a.set("op", std::string(op.name));
  for (const auto& [name, value] : attributes) a.set("a." + name, value);
  std::string types;
  for (const ValueType& t : outputs) types += (types.empty() ? "" : "; ") + str(t);
  a.set("outputs", types);
  const Cost one = cost_of(made, inputs, outputs, 1), two = cost_of(made, inputs, outputs, 2);
  const double bytes = two.bytes - one.bytes, operations = two.operations - one.operations;
  a.set("cost",
        std::vector<double>{one.bytes - bytes, bytes, one.operations - operations, operations});
  return a;
}

PluginAttributes plugin_attributes(const Attrs& attrs) {
  PluginAttributes list;
  for (const auto& [name, value] : attrs.values())
    if (name.starts_with("a.")) list[name.substr(2)] = attrs.get<std::string>(name);
  return list;
}

std::pair<std::shared_ptr<const PluginLibrary>, const tokamak_op*> find_plugin_op(
    const PluginLibraries& libraries, std::string_view op) {
  std::string known;
  for (const auto& library : libraries) {
    if (const tokamak_op* found = library->find(op)) return {library, found};
    for (const tokamak_op* o : library->ops())
      known += fmt::format("{}{} (of {})", known.empty() ? "" : ", ", o->name, library->name());
  }
  fail("no plug-in has an op '{}'; there are: {}", op, known.empty() ? "no plug-ins" : known);
}

std::vector<ValueType> plugin_outputs(const Attrs& attrs) {
  const std::string text = attrs.get<std::string>("outputs");
  std::vector<ValueType> types;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find("; ", at), text.size());
    types.push_back(parse_type(std::string_view(text).substr(at, end - at)));
    at = end + 2;
  }
  return types;
}

OpCost plugin_cost(const Attrs& attrs, int64_t tokens) {
  // Whole numbers are read back from JSON as such.
  const auto list = attrs.values().find("cost");
  if (list == attrs.values().end()) return {};
  std::vector<double> c;
  if (const auto* d = std::get_if<std::vector<double>>(&list->second))
    c = *d;
  else if (const auto* n = std::get_if<std::vector<int64_t>>(&list->second))
    c.assign(n->begin(), n->end());
  if (c.size() != 4) fail("plugin: attribute 'cost' has {} numbers, expected 4", c.size());
  const auto n = static_cast<double>(tokens);
  return {c[0] + c[1] * n, c[2] + c[3] * n};
}

}  // namespace tokamak
