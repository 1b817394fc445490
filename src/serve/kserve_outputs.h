// What a KServe request's outputs have become so far, and the tensors that tell it.
#pragma once
#include <string>
#include <vector>

#include "serve/kserve_request.h"

namespace tokamak::serve {

struct OutputTensor {
  std::string name, datatype;
  std::vector<int64_t> shape;
  Json data;          // flat
  std::string bytes;  // the same on the wire
};

// Outputs of all prompts, one after the other: [outputs] each, output_log_probs [outputs, tokens].
class KServeOutputs {
 public:
  KServeOutputs() = default;
  // `wanted`: names of outputs; empty: all that the request asks for. Those that are wanted are
  // computed. ApiError for unknown ones.
  KServeOutputs(KServeRequest& request, const std::vector<std::string>& wanted = {});

  void take(Piece&& p);
  bool any() const;  // something was taken since the last clear()
  bool complete() const { return running_ == 0; }
  void clear();  // told: what comes next is told alone
  std::vector<OutputTensor> tensors() const;
  // Fields of the generate extension: a value where there is one output, arrays where there are
  // more.
  Json fields() const;

 private:
  std::vector<std::string> wanted_, texts_;
  std::vector<float> sums_;  // of all log-probabilities so far
  std::vector<std::vector<float>> logprobs_;
  size_t running_ = 0;
};

}  // namespace tokamak::serve
