// Beam search: of all tokens that could follow all beams, the best go on. The rules are those of
// Hugging Face's generate(num_beams): candidates that end count when they are among the best
// beam_width, and beam_width that do not end are always there to go on.
#pragma once
#include "runtime/executor/choice.h"
#include "runtime/logit_processors.h"

namespace tokamak {

class BeamChoice final : public Choice {
 public:
  BeamChoice(const ExecutorRequest& request, int64_t vocab_size);

  Chosen next(const LogitRows& logits) override;
  std::vector<int32_t> drop(int32_t output) override;

 private:
  struct Token {
    int32_t id;
    std::optional<TokenLogprobs> logprobs;
    std::shared_ptr<const std::vector<float>> logits;
  };
  struct Beam {
    double score = 0;  // sum of log-probabilities; of those that ended: with the length penalty
    std::vector<Token> tokens = {};
    std::optional<LogitProcessors> processors = {};  // where they change something
  };
  struct Candidate {
    double score;
    int32_t parent, token;
  };

  bool ends_at(int32_t token) const;
  void add_candidates(int32_t beam, std::span<const float> logits, std::vector<Candidate>& to);
  Beam extended(const Candidate& c, std::span<const float> logits) const;
  void note_ended(Beam beam);
  double normalized(double score, int64_t length) const;
  bool is_over() const;
  void give(Chosen& chosen);

  SamplingParams params_;
  bool wants_logits_;
  size_t width_, keep_;
  std::vector<Beam> beams_;  // best first
  std::vector<Beam> ended_;  // best first, at most width_
  int64_t made_ = 0;
  std::vector<float> scores_;
};

}  // namespace tokamak
