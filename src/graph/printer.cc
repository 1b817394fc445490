#include "graph/printer.h"

namespace tokamak {
namespace {

std::string head(const Node& n) {
  if (n.attrs.values().empty()) return std::string(name(n.op));
  return fmt::format("{}[{}]", name(n.op), n.attrs.key());
}

std::string operand(const Graph& g, ValueId id) {
  const Value& v = g.value(id);
  return v.kind == ValueKind::weight ? fmt::format("{} {}", v.name, str(v.type)) : v.name;
}

std::string escaped(const std::string& text) {
  std::string s;
  for (char c : text) {
    if (c == '"' || c == '\\') s += '\\';
    s += c;
  }
  return s;
}

}  // namespace

std::string to_text(const Graph& g) {
  std::string s;
  for (const Value& v : g.values())
    if (v.kind == ValueKind::input) s += fmt::format("input {}: {}\n", v.name, str(v.type));
  for (const Node& n : g.nodes()) {
    std::string outs, ins;
    for (ValueId id : n.outputs)
      outs += (outs.empty() ? "" : ", ") + g.value(id).name + ": " + str(g.value(id).type);
    for (ValueId id : n.inputs) ins += (ins.empty() ? "" : ", ") + operand(g, id);
    s += fmt::format("{} = {}({})\n", outs.empty() ? "()" : outs, head(n), ins);
  }
  for (const auto& [name, id] : g.outputs())
    s += fmt::format("output {} = {}\n", name, g.value(id).name);
  return s;
}

std::string to_dot(const Graph& g) {
  std::string s = "digraph tokamak {\n  rankdir=TB;\n  node [shape=box, fontname=\"monospace\"];\n";
  for (const Value& v : g.values())
    if (v.kind == ValueKind::input)
      s += fmt::format("  v{} [shape=ellipse, label=\"{}\\n{}\"];\n", v.id, escaped(v.name),
                       str(v.type));
  for (const Node& n : g.nodes()) {
    std::string label = escaped(head(n)) + "\\n" + escaped(n.name);
    for (ValueId id : n.inputs)
      if (g.value(id).kind == ValueKind::weight) label += "\\n" + escaped(operand(g, id));
    s += fmt::format("  n{} [label=\"{}\"];\n", n.id, label);
    for (ValueId id : n.inputs) {
      const Value& v = g.value(id);
      if (v.kind == ValueKind::weight) continue;
      const std::string from =
          v.kind == ValueKind::input ? fmt::format("v{}", id) : fmt::format("n{}", v.producer);
      s += fmt::format("  {} -> n{} [label=\"{}\"];\n", from, n.id, str(v.type));
    }
  }
  int i = 0;
  for (const auto& [name, id] : g.outputs()) {
    const Value& v = g.value(id);
    s += fmt::format("  out{} [shape=ellipse, style=bold, label=\"{}\"];\n", i, escaped(name));
    const char kind = v.kind == ValueKind::node ? 'n' : 'v';
    if (v.kind != ValueKind::weight)
      s += fmt::format("  {}{} -> out{};\n", kind, kind == 'n' ? v.producer : id, i);
    ++i;
  }
  return s + "}\n";
}

}  // namespace tokamak
