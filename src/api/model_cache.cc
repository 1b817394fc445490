#include "api/model_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "api/build.h"
#include "api/cache_dir.h"
#include "base/log.h"
#include "convert/convert.h"
#include "engine/engine_config.h"
#include "engine/numerics.h"
#include "formats/atomic_output.h"
#include "tokamak/version.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

uint64_t hash(const std::string& text) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

std::string stamp(const fs::path& file) {
  return fmt::format("{}:{}:{};", file.filename().string(), fs::file_size(file),
                     fs::last_write_time(file).time_since_epoch().count());
}

// Changes when any file of the model does.
std::string fingerprint(const fs::path& model) {
  std::string text = fs::canonical(model).string() + ";";
  if (!fs::is_directory(model)) return text + stamp(model);
  std::vector<std::string> stamps;
  for (const auto& entry : fs::directory_iterator(model))
    if (entry.is_regular_file()) stamps.push_back(stamp(entry.path()));
  std::sort(stamps.begin(), stamps.end());
  for (const std::string& s : stamps) text += s;
  return text;
}

bool is_checkpoint(const fs::path& model) {
  std::error_code ignored;
  return fs::is_regular_file(model / "rank0.safetensors", ignored);
}

std::string plugin_stamps(const std::vector<std::string>& plugins) {
  std::string text;
  for (const std::string& p : plugins) text += stamp(p);
  return text;
}

std::string cache_name(const fs::path& model, const LLMOptions& o, const Backend& backend) {
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|hidden", fingerprint(model), o.dtype,
                  o.keep_quantized, o.kv_cache_dtype, o.tuning, o.activation_bits, o.deterministic,
                  o.max_num_tokens, o.debug_tensors, plugin_stamps(o.plugins),
                  backend.properties().key, kEngineFormat, kKernelVersion);
  const fs::path whole = fs::canonical(model);
  return fmt::format("{}-{:016x}", whole.stem().string(), hash(key));
}

// One build into a cache directory at a time: a second process waits, and finds the engine there.
class CacheLock {
 public:
  explicit CacheLock(const fs::path& root)
      : fd_(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0 || ::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    if (errno != EWOULDBLOCK) return;  // a file system without locks
    log::info("waiting for another process that builds in '{}'", root.string());
    ::flock(fd_, LOCK_EX);
  }
  ~CacheLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  CacheLock(const CacheLock&) = delete;

 private:
  int fd_;
};

// Removes what was converted on the way, also when the build fails.
struct Scratch {
  fs::path path;
  ~Scratch() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
};

void check_activation_bits(const fs::path& engine, const std::string& wanted) {
  const std::string built = read_engine_config(engine).activation_bits;
  const bool automatic = (wanted == "auto") != (built == "auto");  // it looks at the weights too
  if (automatic || kinds_of_8_bits(wanted) != kinds_of_8_bits(built))
    fail(
        "engine '{}' was built with --activation_bits {}; build it again with --activation_bits {}",
        engine.string(), built, wanted);
}

}  // namespace

fs::path engine_of(const fs::path& model, const LLMOptions& options, Backend& backend) {
  kinds_of_8_bits(options.activation_bits);  // refused before any work
  std::error_code error;
  if (!fs::exists(model, error))
    fail(
        "there is no model at '{}'; expected a Hugging Face directory, a .gguf file, a checkpoint "
        "or an engine directory",
        model.string());
  if (is_engine_directory(model)) {
    if (!options.debug_tensors.empty() && read_engine_config(model).debug_tensors.empty())
      fail("engine '{}' was built without debug tensors; build it with --debug_tensors '{}'",
           model.string(), options.debug_tensors);
    if (options.activation_bits != "auto") check_activation_bits(model, options.activation_bits);
    return model;
  }

  const fs::path root = cache_dir(options.cache_dir);
  const fs::path engine = root / cache_name(model, options, backend);
  if (is_engine_directory(engine)) return engine;
  fs::create_directories(root, error);
  if (error) fail("cannot create the cache directory '{}': {}", root.string(), error.message());

  const CacheLock lock(root);
  if (is_engine_directory(engine)) return engine;
  const InterruptGuard guard;
  Scratch scratch;
  BuildOptions build_options;
  build_options.checkpoint_dir = model;
  if (!is_checkpoint(model)) {
    scratch.path = engine.string() + ".checkpoint";
    ConvertOptions convert_options;
    convert_options.model = model;
    convert_options.output_dir = scratch.path;
    convert_options.dtype = options.dtype;
    if (!options.keep_quantized) convert_options.keep_quantized = false;
    convert_options.workers = options.workers;
    convert_options.overwrite = true;
    convert(convert_options);
    build_options.checkpoint_dir = scratch.path;
  }
  build_options.output_dir = engine;
  build_options.kv_cache_dtype = options.kv_cache_dtype;
  build_options.tuning = options.tuning;
  build_options.activation_bits = options.activation_bits;
  build_options.deterministic = options.deterministic;
  build_options.max_num_tokens = options.max_num_tokens;
  build_options.timing_cache = root / "timing.cache";
  build_options.debug_tensors = options.debug_tensors;
  build_options.plugins = options.plugins;
  build_options.overwrite = true;
  build_options.quiet = true;
  build(build_options, backend);
  log::info("built '{}' into '{}'", model.string(), engine.string());
  return engine;
}

}  // namespace tokamak
