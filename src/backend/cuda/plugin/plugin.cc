#include "backend/cuda/plugin/plugin.h"

#include <cstring>

namespace tokamak {
namespace {

class CudaPluginKernel final : public PluginKernel {
 public:
  using PluginKernel::PluginKernel;
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    with_launch(args, [&](tokamak_launch& l) {
      tokamak_error error{};
      const int32_t status =
          op().functions().run_cuda(op().object(), &l, static_cast<CudaExec&>(exec).stream, &error);
      if (status >= 0) return;
      fail("plug-in op '{}': {}", op().label(),
           std::string(error.text, strnlen(error.text, sizeof error.text)));
    });
  }
};

class CudaPluginTactic final : public PluginTactic {
 public:
  using PluginTactic::PluginTactic;
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<CudaPluginKernel>(make(s), s, packed());
  }
};

}  // namespace

void add_plugin(CudaRegistry& r, const std::shared_ptr<const PluginLibrary>& library) {
  add_plugin_tactics<CudaPluginTactic>(
      library, 1, [](const tokamak_op& op) { return op.run_cuda != nullptr; }, r);
}

}  // namespace tokamak
