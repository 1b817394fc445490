#include "backend/cpu/plugin/plugin.h"

namespace tokamak {
namespace {

class CpuPluginKernel final : public PluginKernel {
 public:
  using PluginKernel::PluginKernel;
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    with_launch(args, [&](tokamak_launch& l) {
      l.worker = e.worker;
      l.workers = e.workers;
      op().functions().run_cpu(op().object(), &l);
    });
  }
};

class CpuPluginTactic final : public PluginTactic {
 public:
  using PluginTactic::PluginTactic;
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<CpuPluginKernel>(make(s), s, packed());
  }
};

}  // namespace

void add_plugin(CpuRegistry& r, const std::shared_ptr<const PluginLibrary>& library) {
  add_plugin_tactics<CpuPluginTactic>(
      library, r.target.workers, [](const tokamak_op& op) { return op.run_cpu != nullptr; }, r);
}

}  // namespace tokamak
