#include "compile/timing_cache.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_integer.h"
#include "base/log.h"
#include "formats/atomic_output.h"

namespace tokamak {
namespace {

constexpr int kCacheVersion = 2;

using Buckets = std::map<int32_t, BucketTimes>;

const Json& object(const Json& json) {
  if (!json.is_object()) fail("{} stands where an object belongs", json.type_name());
  return json;
}

double number(const std::string& what, const Json& json) {
  const double value = json.get<double>();
  if (!(value >= 0) || !std::isfinite(value)) fail("{} is {}", what, value);
  return value;
}

Buckets parse_buckets(const Json& json) {
  Buckets buckets;
  for (const auto& [bucket, times] : object(json).items()) {
    int n = 0;
    const auto [end, error] = std::from_chars(bucket.data(), bucket.data() + bucket.size(), n);
    if (error != std::errc() || end != bucket.data() + bucket.size() || n < 1)
      fail("'{}' is no token bucket", bucket);
    buckets[n].noise = number("noise", object(times).at("noise"));
    for (const auto& [tactic, us] : object(times.at("us")).items())
      buckets[n].us[tactic] = number("the time of '" + tactic + "'", us);
  }
  return buckets;
}

}  // namespace

void TimingCache::load(const std::filesystem::path& path) {
  std::map<std::string, std::map<std::string, Buckets>> read;
  try {
    const Json json = load_json(path);
    if (json_integer<int>(json.at("version")) != kCacheVersion) fail("its version is unknown");
    for (const auto& [device, signatures] : object(json.at("devices")).items())
      for (const auto& [signature, buckets] : object(signatures).items())
        read[device][signature] = parse_buckets(buckets);
  } catch (const std::exception& e) {
    log::warning("timing cache '{}' is ignored: {}", path.string(), e.what());
    return;
  }
  for (auto& [device, signatures] : read)
    for (auto& [signature, buckets] : signatures)
      for (auto& [bucket, times] : buckets) devices_[device][signature][bucket] = std::move(times);
}

void TimingCache::save(const std::filesystem::path& path) const {
  Json devices = Json::object();
  for (const auto& [device, signatures] : devices_)
    for (const auto& [signature, buckets] : signatures)
      for (const auto& [bucket, times] : buckets)
        devices[device][signature][std::to_string(bucket)] = {{"us", times.us},
                                                              {"noise", times.noise}};
  const Json json = {{"version", kCacheVersion}, {"devices", std::move(devices)}};
  write_file(path, json.dump(1) + "\n");
}

const BucketTimes* TimingCache::find(const std::string& device, const std::string& signature,
                                     int32_t bucket) const {
  const auto d = devices_.find(device);
  if (d == devices_.end()) return nullptr;
  const auto s = d->second.find(signature);
  if (s == d->second.end()) return nullptr;
  const auto b = s->second.find(bucket);
  return b == s->second.end() ? nullptr : &b->second;
}

void TimingCache::put(const std::string& device, const std::string& signature, int32_t bucket,
                      BucketTimes times) {
  devices_[device][signature][bucket] = std::move(times);
}

size_t TimingCache::entries() const {
  size_t n = 0;
  for (const auto& [device, signatures] : devices_)
    for (const auto& [signature, buckets] : signatures) n += buckets.size();
  return n;
}

}  // namespace tokamak
