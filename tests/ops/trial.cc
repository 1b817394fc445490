#include "trial.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "backend/cpu/element.h"
#include "ops/attention.h"

namespace tokamak::test {
namespace {

double largest_of(DType t) { return t == DType::f16 ? 65000 : 3.4e38; }

// Empty when every element is within its tolerance and, where the tensor is large enough for
// statistics, the whole is too.
std::string mismatch(const HostTensor& got, const HostTensor& want, const Tolerance& tolerance,
                     bool whole) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.values.size(); ++i) {
    const double g = got.values[i], w = want.values[i];
    if (std::isnan(w) && std::isnan(g)) continue;
    if (w == g) {
      size += std::isfinite(w) ? w * w : 0;
      continue;
    }
    const double magnitude = std::max(std::fabs(w), want.magnitude.empty() ? 0 : want.magnitude[i]);
    const double allowed = tolerance.element * magnitude + 1e-7 * (tolerance.element > 0);
    // A result may be infinite where the double is merely beyond the dtype's range, or nearly so.
    if (std::isinf(g) && g * w > 0 && std::fabs(w) + allowed > largest_of(got.type.dtype)) continue;
    if (!(std::fabs(g - w) <= allowed))
      return fmt::format("element {} of row {}: found {}, expected {} ± {}",
                         i % static_cast<size_t>(want.width()),
                         i / static_cast<size_t>(want.width()), g, w, allowed);
    error += (g - w) * (g - w);
    size += w * w;
  }
  const double floor = 1e-12 * static_cast<double>(want.values.size());
  if (whole && want.values.size() >= 200 && error > tolerance.nmse * size + floor)
    return fmt::format("squared error {} of {}: more than {}", error, size, tolerance.nmse);
  return {};
}

// One pool, K or V, row by row. New rows are within the dtype's rounding of the expected ones, plus
// float32's of the row's largest element (a turn may cancel); all others are untouched. Of int8 a
// code may be one off, where the value lies between two.
std::string pool_mismatch(const std::vector<std::byte>& got, const std::vector<std::byte>& want,
                          const std::vector<std::byte>& before, DType dtype, int64_t width) {
  const double step = dtype == DType::f16      ? 1e-3
                      : dtype == DType::bf16   ? 8e-3
                      : dtype == DType::f8e4m3 ? 0.126
                                               : 0;
  const double code = dtype == DType::int8_row ? 1.002 / 127 : dtype == DType::f8e4m3 ? 1e-4 : 0;
  const size_t size = row_bytes(dtype, width);
  for (size_t at = 0; at < want.size(); at += size) {
    if (std::memcmp(&got[at], &want[at], size) == 0) continue;
    if (std::memcmp(&want[at], &before[at], size) == 0)
      return fmt::format("row {}: not this step's, but written", at / size);
    const std::vector<double> g = load_kv(dtype, &got[at], width),
                              w = load_kv(dtype, &want[at], width);
    double largest = 0;
    for (const double x : w) largest = std::max(largest, std::fabs(x));
    for (size_t i = 0; i < w.size(); ++i) {
      const double allowed = step * std::fabs(w[i]) + (2e-6 + code) * largest;
      if (!(std::fabs(g[i] - w[i]) <= allowed))
        return fmt::format("row {}, element {}: found {}, expected {} ± {}", at / size, i, g[i],
                           w[i], allowed);
    }
  }
  return {};
}

std::string cache_mismatch(const HostKv& got, const HostKv& want, const HostKv& before,
                           DType dtype) {
  const std::string k = pool_mismatch(got.k, want.k, before.k, dtype, want.head_dim);
  if (!k.empty()) return "K cache, " + k;
  const std::string v = pool_mismatch(got.v, want.v, before.v, dtype, want.head_dim);
  return v.empty() ? v : "V cache, " + v;
}

int64_t vocab(const OpSignature& s) {
  return s.op == Op::embedding ? s.inputs[1].shape[0].size : 1000;
}
std::pair<int64_t, int64_t> kv(const OpSignature& s) {
  if (s.op != Op::attention) return {0, 0};
  const AttentionAttrs a = AttentionAttrs::from(s.attrs);
  return {a.kv_heads, a.head_dim};
}

}  // namespace

Trial::Trial(const OpRow& row, const OpSignature& s, const StepShape& shape, Fill fill,
             uint64_t seed)
    : s_(s),
      fill_(fill),
      seed_(seed),
      rng_(seed),
      step_(shape, vocab(s), kv(s).first, kv(s).second, rng_) {
  if (s.op == Op::lora) step_.lora = random_lora(s, step_.query_begin, rng_);
  for (const ValueType& t : s.inputs) {
    inputs_.push_back(random_tensor(t, step_.context.tokens, step_.context.logit_rows,
                                    t.dtype == DType::i32 ? Fill::gaussian : fill, rng_));
  }
  set_step_inputs();
  want_cache_ = step_.cache;
  want_ = row.reference(s, inputs_, step_, want_cache_);
}

bool Trial::check(Backend& backend, const Tactic& tactic, bool strided) {
  LaunchResult got;
  std::string problem;
  try {
    got = run_tactic(backend, tactic, s_, inputs_, step_, strided);
    problem = got.damage;
  } catch (const Error& e) {
    problem = e.what();
  }
  for (size_t i = 0; i < want_.size() && problem.empty(); ++i)
    problem = mismatch(got.outputs[i], want_[i], tolerance_of(s_, step_.shape, tactic.name()),
                       fill_ == Fill::gaussian);
  if (problem.empty() && s_.op == Op::attention)
    problem = cache_mismatch(got.cache, want_cache_, step_.cache, step_.shape.kv_dtype);
  if (problem.empty()) return true;
  ADD_FAILURE() << tactic.name() << " at level " << backend.properties().isa << ", "
                << backend.properties().workers << " workers, step " << step_.shape.name << " (KV "
                << name(step_.shape.kv_dtype) << "), " << name(fill_)
                << (strided ? ", strided" : "") << ", seed " << seed_ << "\n  " << s_.key()
                << "\n  " << problem;
  return false;
}

void Trial::set_ints(size_t input, const std::vector<int32_t>& v) {
  for (size_t i = 0; i < v.size(); ++i) {
    inputs_[input].values[i] = v[i];
    store_element(DType::i32, inputs_[input].bytes.data(), static_cast<int64_t>(i), v[i]);
  }
}

void Trial::set_step_inputs() {
  if (s_.op == Op::embedding) set_ints(0, step_.ids);
  if (s_.op == Op::rope) set_ints(1, step_.positions);
  if (s_.op == Op::attention) set_ints(3, step_.positions);
}

bool quick() { return std::getenv("TOKAMAK_TEST_QUICK") != nullptr; }

TestPart test_part() {
  const char* text = std::getenv("TOKAMAK_TEST_PART");
  TestPart part;
  if (text &&
      (std::sscanf(text, "%zu/%zu", &part.index, &part.count) != 2 || part.index >= part.count))
    fail("TOKAMAK_TEST_PART is '{}', expected PART/PARTS with PART below PARTS", text);
  if (quick()) part.count *= 8;
  return part;
}

void check_row(const OpRow& row, CheckTrial check) {
  constexpr uint64_t kSeed = 20261121;
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  uint64_t seed = kSeed;
  std::set<std::string> failed, ran;
  const auto shapes = row.op == Op::attention ? attention_step_shapes() : step_shapes();
  const std::vector<OpSignature> signatures = row.signatures();
  const TestPart part = test_part();
  for (size_t i = 0; i < signatures.size(); ++i)
    for (const StepShape& shape : shapes)
      for (const Fill fill : {Fill::gaussian, Fill::outliers, Fill::nonfinite}) {
        const OpSignature& s = signatures[i];
        if (fill == Fill::nonfinite && !row.nonfinite(s)) continue;
        ++seed;  // of a trial, whichever part runs it
        if (i % part.count != part.index) continue;
        Trial trial(row, s, shape, fill, seed);
        check(trial, s, fill, failed, ran);
      }
  std::string names;
  for (const std::string& n : ran) names += " " + n;
  std::printf("tactics:%s\n", names.c_str());
  EXPECT_TRUE(!ran.empty() || part.index >= signatures.size());
}

}  // namespace tokamak::test
