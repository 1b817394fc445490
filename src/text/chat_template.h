// Chat templates: the Jinja subset that published models' chat_template uses. Sandboxed: no access
// to anything but its inputs; bounded in steps, output size and recursion.
#pragma once
#include <chrono>
#include <memory>
#include <string>

#include "base/json.h"

namespace tokamak {

namespace jinja {
struct Program;
}

struct TemplateLimits {
  size_t max_steps = 10'000'000;
  size_t max_output_bytes = 64 << 20;
  size_t max_memory_bytes = size_t{512} << 20;  // of live values
  int max_depth = 200;
};

class ChatTemplate {
 public:
  // Throws Error with line and column when the source does not parse.
  explicit ChatTemplate(const std::string& source, TemplateLimits limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // variables: an object with messages, tools, bos_token, eos_token, add_generation_prompt …
  // `now` feeds strftime_now. raise_exception becomes an Error with its message.
  std::string render(const OrderedJson& variables, std::chrono::system_clock::time_point now =
                                                       std::chrono::system_clock::now()) const;

 private:
  std::unique_ptr<jinja::Program> program_;
  TemplateLimits limits_;
};

}  // namespace tokamak
