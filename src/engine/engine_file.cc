#include "engine/engine_file.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

namespace tokamak {
namespace {

constexpr uint64_t kWeightAlign = 64;
constexpr char kMagic[8] = {'T', 'O', 'K', 'A', 'M', 'A', 'K', '\n'};

struct Header {
  char magic[8];
  uint32_t version, header_bytes;
  uint64_t plan_bytes, weights_offset, weights_bytes, file_bytes, checksum, weights_checksum;
};
static_assert(sizeof(Header) == 64);

uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

// FNV-1a over 64 bits: any flipped bit changes it.
uint64_t fnv1a(uint64_t hash, const void* data, size_t bytes) {
  const auto* p = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3ull;
  return hash;
}

uint64_t checksum(Header header, std::string_view plan) {
  header.checksum = 0;
  return fnv1a(fnv1a(0xcbf29ce484222325ull, &header, sizeof header), plan.data(), plan.size());
}

// Of the weight section: FNV-1a over words in four lanes, for speed. Every step is a bijection of
// the lane, so that no change within one word goes unseen.
class WeightsChecksum {
 public:
  void add(std::span<const std::byte> part) {  // all but the last one whole words of 32 bytes
    uint64_t word[4];
    size_t i = 0;
    for (; i + sizeof word <= part.size(); i += sizeof word) {
      std::memcpy(word, part.data() + i, sizeof word);
      mix(word);
    }
    if (i == part.size()) return;
    std::memset(word, 0, sizeof word);
    std::memcpy(word, part.data() + i, part.size() - i);
    mix(word);
  }
  uint64_t value() const { return fnv1a(0xcbf29ce484222325ull, lanes_, sizeof lanes_); }

 private:
  void mix(const uint64_t* word) {
    for (int l = 0; l < 4; ++l) {
      lanes_[l] = (lanes_[l] ^ word[l]) * 0x9e3779b97f4a7c15ull;
      lanes_[l] ^= lanes_[l] >> 32;
    }
  }
  uint64_t lanes_[4] = {1, 2, 3, 4};
};

// Calls `done` after each piece, so that it need not stay in memory.
template <typename Done>
uint64_t weights_checksum(std::span<const std::byte> section, const Done& done) {
  constexpr size_t kPiece = 16u << 20;
  WeightsChecksum sum;
  while (!section.empty()) {
    const auto piece = section.first(std::min(kPiece, section.size()));
    sum.add(piece);
    done(piece);
    section = section.subspan(piece.size());
  }
  return sum.value();
}

Header read_header(const MappedFile& file) {
  const std::string path = file.path().string();
  Header h{};
  if (file.size() < sizeof h) fail("'{}' is no engine: it has only {} bytes", path, file.size());
  std::memcpy(&h, file.data(), sizeof h);
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0)
    fail("'{}' is no engine: it does not start with the engine's mark", path);
  if (h.version != kEngineVersion)
    fail(
        "'{}' has engine format version {}, this program reads version {}: build it again "
        "(tokamak build --checkpoint_dir … --output_dir …)",
        path, h.version, kEngineVersion);
  if (h.header_bytes != sizeof h || h.file_bytes < sizeof h ||
      h.plan_bytes > h.file_bytes - sizeof h || h.weights_offset % kPageBytes != 0 ||
      h.weights_offset < sizeof h + h.plan_bytes || h.weights_offset > h.file_bytes ||
      h.weights_bytes != h.file_bytes - h.weights_offset)
    fail("'{}' is damaged: its header contradicts itself; build it again", path);
  if (h.file_bytes != file.size())
    fail("'{}' has {} bytes, its header says {} (truncated?); build it again", path, file.size(),
         h.file_bytes);
  return h;
}

// Bytes of the weight section.
uint64_t section_bytes(const Plan& plan) {
  uint64_t section = 0;
  if (plan.random_weights == 0)
    for (const PlanWeight& w : plan.weights) section = std::max(section, w.offset + w.bytes);
  return section;
}

void check_weights(const Plan& plan, uint64_t section, const std::string& path) {
  if (plan.random_weights != 0) return;  // nothing is read
  for (const PlanWeight& w : plan.weights)
    if (w.offset % kWeightAlign != 0 || w.offset > section || w.bytes > section - w.offset)
      fail("'{}': weight '{}' needs bytes {} to {} of a section of {}", path, w.names[0], w.offset,
           w.offset + w.bytes, section);
}

}  // namespace

EngineFile EngineFile::open(const std::filesystem::path& path) {
  EngineFile engine;
  engine.file_ = std::make_unique<MappedFile>(path);
  const Header h = read_header(*engine.file_);
  const std::string_view plan(reinterpret_cast<const char*>(engine.file_->data()) + sizeof h,
                              h.plan_bytes);
  if (checksum(h, plan) != h.checksum)
    fail("'{}' is damaged: the checksum of its header and plan is wrong; build it again",
         path.string());
  try {
    engine.plan_ = Plan::from_json(parse_json(plan, path.string()));
  } catch (const Error& e) {
    fail("'{}': {}", path.string(), e.what());
  }
  engine.weights_offset_ = h.weights_offset;
  engine.weights_checksum_ = h.weights_checksum;
  check_weights(engine.plan_, h.weights_bytes, path.string());
  return engine;
}

std::span<const std::byte> EngineFile::weight(size_t i) const {
  const PlanWeight& w = plan_.weights.at(i);
  if (plan_.random_weights != 0)
    fail("'{}' holds no weights: they are random, made when it is opened to run", path().string());
  return file_->slice(weights_offset_ + w.offset, w.bytes, "weight");
}

void EngineFile::verify_weights() const {
  const auto section = file_->bytes().subspan(weights_offset_);
  const uint64_t sum =
      weights_checksum(section, [&](std::span<const std::byte> piece) { file_->release(piece); });
  if (sum != weights_checksum_)
    fail(
        "'{}' is damaged: the checksum of its weights is {:016x}, expected {:016x}; build it again",
        path().string(), sum, weights_checksum_);
}

uint64_t assign_weight_offsets(Plan& plan) {
  uint64_t end = 0;
  for (PlanWeight& w : plan.weights) {
    w.offset = round_up(end, w.bytes >= 16 * kPageBytes ? kPageBytes : kWeightAlign);
    end = w.offset + w.bytes;
  }
  return end;
}

EngineWriter::EngineWriter(const std::filesystem::path& target, const Plan& plan)
    : file_(target), plan_(plan) {
  const std::string json = plan.to_json().dump();
  const uint64_t section = section_bytes(plan);
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.version = kEngineVersion;
  h.header_bytes = sizeof h;
  h.plan_bytes = json.size();
  h.weights_offset = weights_offset_ = round_up(sizeof h + json.size(), kPageBytes);
  h.weights_bytes = section;
  h.file_bytes = h.weights_offset + section;
  file_.reserve(h.file_bytes);
  file_.write_at(0, std::as_bytes(std::span(&h, 1)));
  file_.write_at(sizeof h, std::as_bytes(std::span(json)));
}

void EngineWriter::commit() {
  const std::span<std::byte> all = file_.map();
  Header h;
  std::memcpy(&h, all.data(), sizeof h);
  h.weights_checksum =
      weights_checksum(all.subspan(weights_offset_), [&](std::span<const std::byte> piece) {
        file_.release({const_cast<std::byte*>(piece.data()), piece.size()});
      });
  h.checksum = checksum(h, {reinterpret_cast<const char*>(all.data()) + sizeof h, h.plan_bytes});
  file_.write_at(0, std::as_bytes(std::span(&h, 1)));
  file_.commit();
}

std::span<std::byte> EngineWriter::weight(size_t i) {
  const PlanWeight& w = plan_.weights.at(i);
  return file_.map().subspan(weights_offset_ + w.offset, w.bytes);
}

}  // namespace tokamak
