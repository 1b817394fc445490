// One team of blocks per row: its scores stay in shared memory from the logits to the draw.
#include <cuda_runtime.h>

#include <algorithm>

#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/sample.h"
#include "backend/cuda/kernels/sample_select.cuh"
#include "base/philox.h"

namespace tokamak::cuda {
namespace {

constexpr int kMostBlocks = kTeamMost;  // that every device with clusters can put in one

constexpr size_t tally_bytes(int64_t part) { return static_cast<size_t>(part / 8 + part * 2); }
constexpr size_t part_bytes(int64_t part) {
  return static_cast<size_t>(part) * sizeof(float) + tally_bytes(part);
}
int64_t part_of(int64_t vocab, int blocks) {
  return ((vocab + blocks - 1) / blocks + 127) / 128 * 128;
}
// The tallies of the history lie where the histogram comes later.
size_t shared_bytes(int64_t part) {
  return static_cast<size_t>(part) * sizeof(float) + std::max(tally_bytes(part), sizeof(Histogram));
}

// Leaves the largest logit and the largest score of the row, for all of its blocks.
template <bool kCluster>
__device__ void share_best(const Team<kCluster>& team, Exchange& e, Rank& raw, Rank& best) {
  const int warp = threadIdx.x / 32;
  raw = warp_largest(raw);
  best = warp_largest(best);
  if (threadIdx.x % 32 == 0) {
    e.ranks[0][warp] = raw;
    e.ranks[1][warp] = best;
  }
  __syncthreads();
  if (warp == 0) {
    raw = warp_largest(e.ranks[0][threadIdx.x]);
    best = warp_largest(e.ranks[1][threadIdx.x]);
    if (threadIdx.x == 0) {
      e.raw = raw;
      e.best = best;
    }
  }
  team.sync();
  raw = best = 0;
#pragma unroll
  for (int r = 0; r < kTeamMost; ++r) {
    if (r >= team.size()) break;
    raw = larger(raw, team.of(r, &e)->raw);
    best = larger(best, team.of(r, &e)->best);
  }
}

__device__ Rank divide_scores(ScorePart& p, float temperature) {
  const bool divides = temperature != 0 && temperature != 1;
  Rank best = 0;
  for (int j = threadIdx.x; j < p.size; j += kDrawThreads) {
    float v = p.scores[j];
    if (divides) p.scores[j] = v = v / temperature;
    best = larger(best, rank_of(v, static_cast<uint32_t>(p.begin + j)));
  }
  return best;
}

// A token, an error, or kNotChosenYet: it must be drawn.
__device__ int32_t choice_of(Rank raw, Rank best, float temperature) {
  if (raw == kNanRank) return kNanLogits;
  if (score_of(raw) == INFINITY) return kInfiniteLogits;
  if (best == kNanRank || isinf(score_of(best))) return kNothingLeft;
  return temperature == 0 ? id_of(best) : kNotChosenYet;
}

template <bool kCluster>
__device__ void draw_token(Selection<kCluster>&& selection, const DecodeRows& d, int row,
                           const RowSampling& s, const Exchange& e) {
  Cut cut;
  if (s.top_k > 0 && s.top_k < d.vocab)
    cut = selection.search(cut, Goal{static_cast<uint32_t>(s.top_k), 0, 0});
  if (s.top_p < 1) cut = selection.search(cut, Goal{0, s.top_p, 0});
  selection.draw(cut, e.log_min_p, e.uniform, [&](int32_t token) { feed_back(d, row, token); });
}

template <bool kCluster>
__global__ __launch_bounds__(kDrawThreads, 1) void draw_kernel(DecodeRows d, int64_t part,
                                                               std::byte* workspace) {
  extern __shared__ __align__(16) std::byte memory[];
  __shared__ Exchange e;
  const Team<kCluster> team;
  const int row = blockIdx.y;
  wait_for_previous();
  let_next_start();
  const RowSampling s = d.params[row];
  const RowHistory history{d.history + row * d.history_stride, d.history_len[row],
                           d.prompt_len[row]};
  ScorePart p;
  p.begin = team.rank() * part;
  p.size = static_cast<int>(max(min(part, d.vocab - p.begin), int64_t{0}));
  std::byte* own = memory;
  if (workspace)
    own = workspace +
          (int64_t{row} * gridDim.x + blockIdx.x) * static_cast<int64_t>(part_bytes(part));
  p.scores = reinterpret_cast<float*>(own);
  p.seen = reinterpret_cast<uint32_t*>(own + part * sizeof(float));
  p.counts = p.seen + part / 32;
  auto& h = *reinterpret_cast<Histogram*>(workspace ? memory : memory + part * sizeof(float));

  if (threadIdx.x == 0) {
    e.log_min_p = s.min_p > 0 ? log(static_cast<double>(s.min_p)) : -INFINITY;
    e.uniform = philox_uniform(s.seed, static_cast<uint64_t>(history.length - history.prompt));
  }
  Rank raw = load_scores(d.logits + row * d.vocab, p);
  penalize(s, history, p);
  ban_repeated_ngrams(s, history, p);
  __syncthreads();
  Rank best = divide_scores(p, s.temperature);
  share_best(team, e, raw, best);
  const int32_t choice = choice_of(raw, best, s.temperature);
  if (choice == kNotChosenYet)
    draw_token(Selection<kCluster>(team, e, h, p, score_of(best)), d, row, s, e);
  else if (team.rank() == 0 && threadIdx.x == 0)
    feed_back(d, row, choice);
  team.sync();  // no block ends while another may read it
}

int most_blocks(const DrawDevice& device) { return device.clusters ? kMostBlocks : 1; }
bool fits(const DrawDevice& device, int64_t vocab, int blocks) {
  return shared_bytes(part_of(vocab, blocks)) + sizeof(Exchange) <= device.shared_bytes;
}

}  // namespace

int64_t draw_max_vocab() { return kDrawMaxVocab; }

size_t draw_workspace_bytes(const DrawDevice& device, int32_t rows, int64_t vocab) {
  const int blocks = most_blocks(device);
  if (fits(device, vocab, blocks)) return 0;
  return part_bytes(part_of(vocab, blocks)) * static_cast<size_t>(blocks) *
         static_cast<size_t>(rows);
}

void choose_drawn(const DrawDevice& device, const DecodeRows& d, std::byte* workspace,
                  cudaStream_t stream) {
  if (d.rows == 0) return;
  int blocks = most_blocks(device);
  const bool shared = fits(device, d.vocab, blocks);
  while (blocks > 1 && blocks * d.rows > device.multiprocessors &&
         fits(device, d.vocab, blocks / 2))
    blocks /= 2;
  const int64_t part = part_of(d.vocab, blocks);
  const auto size = static_cast<unsigned>(blocks);
  const size_t bytes = shared ? shared_bytes(part) : sizeof(Histogram);
  const auto kernel = device.clusters ? draw_kernel<true> : draw_kernel<false>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(bytes)) == cudaSuccess)
    launch_clustered(kernel, dim3(size, static_cast<unsigned>(d.rows)), dim3(kDrawThreads), bytes,
                     stream, dim3(size), d, part, shared ? nullptr : workspace);
}

}  // namespace tokamak::cuda
