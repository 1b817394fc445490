// tokamak devices: what this machine offers, and with --measure what it reaches.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/build.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/topology.h"
#include "base/json.h"
#include "cli/command.h"

namespace tokamak::cli {
namespace {

struct DevicesOptions {
  bool measure = false, json = false;
  std::string device = "cpu";
};

OrderedJson level_json(std::string_view level, const std::string& missing) {
  OrderedJson j = {{"name", level}, {"available", missing.empty()}};
  if (!missing.empty()) j["missing"] = missing;
  return j;
}

// Lowest first.
OrderedJson levels_json(const IsaReport& report) {
  OrderedJson levels = OrderedJson::array();
  for (int i = 0; i < kIsaCount; ++i)
    levels.push_back(level_json(name(static_cast<Isa>(i)), report.missing[static_cast<size_t>(i)]));
  return levels;
}

// Why no higher level than this one is in use.
std::string isa_reason(std::string_view used) {
  const IsaReport& report = isa_report();
  const Isa isa = parse_isa(used);
  if (isa != report.best()) return "asked for by TOKAMAK_ISA";
  const auto next = static_cast<size_t>(isa) + 1;
  if (next == kIsaCount) return "the highest level";
  return fmt::format("no {}: {}", name(static_cast<Isa>(next)), report.missing[next]);
}

OrderedJson nodes_json(const CpuTopology& t) {
  OrderedJson nodes = OrderedJson::array();
  for (size_t i = 0; i < t.nodes.size(); ++i) {
    const auto here = [&](const CpuCore& c) { return static_cast<size_t>(c.node) == i; };
    nodes.push_back({{"node", t.nodes[i].os_index},
                     {"cores", std::count_if(t.cores.begin(), t.cores.end(), here)},
                     {"memory_bytes", t.nodes[i].memory_bytes}});
  }
  return nodes;
}

// "always", "madvise" or "never": the word in brackets.
std::string huge_pages() {
  std::ifstream in("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  std::getline(in, line);
  const size_t begin = line.find('['), end = line.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "unknown";
  return line.substr(begin + 1, end - begin - 1);
}

OrderedJson describe(Backend& backend, bool measure) {
  const DeviceProperties& p = backend.properties();
  const CpuTopology t = read_topology();
  OrderedJson j = {{"backend", backend.name()},
                   {"name", p.name},
                   {"key", p.key},
                   {"isa", p.isa},
                   {"isa_levels", levels_json(isa_report())},
                   {"isa_extras", {level_json("avx512_bf16", isa_report().avx512_bf16_missing)}},
                   {"workers", p.workers},
                   {"isa_reason", isa_reason(p.isa)},
                   {"logical_cpus", t.logical_cpus()},
                   {"cores", t.cores.size()},
                   {"numa_nodes", nodes_json(t)},
                   {"huge_pages", huge_pages()},
                   {"cpu_quota", t.quota},
                   {"l1d_bytes", t.l1d_bytes},
                   {"l2_bytes", t.l2_bytes},
                   {"l3_bytes", t.l3_bytes},
                   {"memory_bytes", p.memory_bytes}};
  if (measure) {
    const DeviceLimits l = backend.measure_limits();
    j["limits"] = {{"read_gb_s", l.read_gb_s},
                   {"f32_gflop_s", l.f32_gflop_s},
                   {"bf16_gflop_s", l.bf16_gflop_s},
                   {"int8_gop_s", l.int8_gop_s}};
  }
  return j;
}

void row(std::string_view name, const std::string& value) {
  fmt::print("  {:<16}{}\n", name, value);
}

std::string cache_size(uint64_t bytes) {
  if (bytes == 0) return "unknown";
  return bytes >= (1 << 20) ? fmt::format("{} MiB", bytes >> 20)
                            : fmt::format("{} KiB", bytes >> 10);
}

void print_limits(const OrderedJson& limits) {
  const auto rate = [&](const char* field, const char* unit) {
    const double v = limits[field];
    return v > 0 ? fmt::format("{:.1f} {}", v, unit) : "no such instruction at this level";
  };
  fmt::print("Measured, all workers\n");
  row("memory read", rate("read_gb_s", "GB/s"));
  row("float32", rate("f32_gflop_s", "GFLOP/s"));
  row("bfloat16", rate("bf16_gflop_s", "GFLOP/s"));
  row("int8", rate("int8_gop_s", "Gop/s"));
}

void print_table(const OrderedJson& j) {
  fmt::print("Device 0: {}\n", j["name"].get<std::string>());
  row("backend", j["backend"]);
  row("ISA in use",
      fmt::format("{} ({})", j["isa"].get<std::string>(), j["isa_reason"].get<std::string>()));
  for (const char* list : {"isa_levels", "isa_extras"})
    for (const OrderedJson& l : j[list])
      row("  " + l["name"].get<std::string>(),
          l["available"] ? "yes" : "no: " + l["missing"].get<std::string>());
  row("workers",
      fmt::format(
          "{} of {} cores, {} logical CPUs{}", j["workers"].get<int>(), j["cores"].get<int>(),
          j["logical_cpus"].get<int>(),
          j["cpu_quota"] > 0.0 ? fmt::format(", quota {:.1f}", j["cpu_quota"].get<double>()) : ""));
  row("caches", fmt::format("L1d {}, L2 {}, L3 {}", cache_size(j["l1d_bytes"]),
                            cache_size(j["l2_bytes"]), cache_size(j["l3_bytes"])));
  row("memory", fmt::format("{:.1f} GiB, transparent huge pages: {}",
                            j["memory_bytes"].get<double>() / (1u << 30),
                            j["huge_pages"].get<std::string>()));
  for (const OrderedJson& node : j["numa_nodes"])
    row("  NUMA node " + std::to_string(node["node"].get<int>()),
        fmt::format("{} cores, {:.1f} GiB", node["cores"].get<int>(),
                    node["memory_bytes"].get<double>() / (1u << 30)));
  if (j.contains("limits")) print_limits(j["limits"]);
}

OrderedJson describe_gpu(Backend& backend, bool measure) {
  const DeviceProperties& p = backend.properties();
  const auto use = backend.memory_use();
  OrderedJson j = {{"backend", backend.name()},
                   {"name", p.name},
                   {"key", p.key},
                   {"isa", p.isa},
                   {"memory_bytes", p.memory_bytes},
                   {"free_bytes", use ? use->free : 0}};
  if (measure) {
    const DeviceLimits l = backend.measure_limits();
    j["limits"] = {{"read_gb_s", l.read_gb_s},
                   {"f32_gflop_s", l.f32_gflop_s},
                   {"bf16_gflop_s", l.bf16_gflop_s}};
  }
  return j;
}

void print_gpu(const OrderedJson& j) {
  const auto gib = [&](const char* field) { return j[field].get<double>() / (1u << 30); };
  fmt::print("Device 0: {}\n", j["name"].get<std::string>());
  row("backend", j["backend"]);
  row("architecture", j["isa"]);
  row("memory", fmt::format("{:.1f} GiB, {:.1f} free", gib("memory_bytes"), gib("free_bytes")));
  if (!j.contains("limits")) return;
  fmt::print("Measured\n");
  row("memory read", fmt::format("{:.1f} GB/s", j["limits"]["read_gb_s"].get<double>()));
  row("float32", fmt::format("{:.0f} GFLOP/s", j["limits"]["f32_gflop_s"].get<double>()));
  row("bfloat16", fmt::format("{:.0f} GFLOP/s", j["limits"]["bf16_gflop_s"].get<double>()));
}

int run_devices(const DevicesOptions& o) {
  if (o.device != "cpu") {
    const auto backend = make_backend(o.device, 0);
    const OrderedJson device = describe_gpu(*backend, o.measure);
    if (o.json)
      fmt::print("{}\n", OrderedJson{{"devices", OrderedJson::array({device})}}.dump(2));
    else
      print_gpu(device);
    return 0;
  }
  const auto backend = make_cpu_backend();
  const OrderedJson device = describe(*backend, o.measure);
  if (o.json)
    fmt::print("{}\n", OrderedJson{{"devices", OrderedJson::array({device})}}.dump(2));
  else
    print_table(device);
  return 0;
}

}  // namespace

Run declare_devices(CLI::App& app) {
  auto o = std::make_shared<DevicesOptions>();
  app.add_flag("--measure", o->measure, "Measure read bandwidth and peak arithmetic (a second)");
  app.add_option("--device", o->device, "cpu or cuda")->capture_default_str();
  app.add_flag("--json", o->json, "JSON instead of a table");
  return [o] { return run_devices(*o); };
}

}  // namespace tokamak::cli
