// What every CPU tactic shares: the machine it is made for, the ISA level it needs, a rough
// estimate.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/cpu_exec.h"
#include "backend/cpu/isa.h"
#include "backend/tactic_registry.h"

namespace tokamak {

// The machine as tactics see it; isa is the level in use, which may be forced below the best.
struct CpuTarget {
  Isa isa = Isa::reference;
  bool avx512_bf16 = false;  // only with isa >= avx512_vnni
  int workers = 1;
  size_t l1d_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 8 << 20;
  bool has(Isa level) const { return isa >= level; }
};

class CpuTactic : public Tactic {
 public:
  CpuTactic(std::string name, Op op, Isa level, const CpuTarget& target)
      : target_(target), name_(std::move(name)), op_(op), level_(level) {}

  std::string_view name() const override { return name_; }
  Op op() const override { return op_; }
  Isa level() const { return level_; }
  bool supports(const OpSignature& s) const final {
    return s.op == op_ && target_.has(level_) && fits(s);
  }
  size_t workspace_bytes(const OpSignature&, int64_t) const override { return 0; }
  std::string_view weight_layout(const OpSignature&, int) const override { return "plain"; }
  // From the op's bytes and operations and what one core of this level does with them.
  double estimate_us(const OpSignature& signature, int64_t tokens) const override;

 protected:
  // Whether this signature can run, the level given.
  virtual bool fits(const OpSignature& signature) const = 0;
  const CpuTarget target_;

 private:
  const std::string name_;
  const Op op_;
  const Isa level_;
};

// A tactic made of functions, for kernels that need nothing else of it.
class SimpleTactic final : public CpuTactic {
 public:
  using Fits = bool (*)(const OpSignature&);
  using Bind = std::unique_ptr<Kernel> (*)(const OpSignature&);
  SimpleTactic(std::string name, Op op, Isa level, const CpuTarget& target, Fits fits, Bind bind)
      : CpuTactic(std::move(name), op, level, target), fits_(fits), bind_(bind) {}
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override { return bind_(s); }

 protected:
  bool fits(const OpSignature& s) const override { return fits_(s); }

 private:
  const Fits fits_;
  const Bind bind_;
};

// What the registration functions fill (registry.cc lists them).
struct CpuRegistry : TacticRegistry {
  CpuTarget target;

  void add_simple(std::string name, Op op, Isa level, SimpleTactic::Fits fits,
                  SimpleTactic::Bind bind) {
    add<SimpleTactic>(std::move(name), op, level, target, fits, bind);
  }
};

}  // namespace tokamak
