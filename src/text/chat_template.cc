#include "text/chat_template.h"

#include "base/error.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"

namespace tokamak {

ChatTemplate::ChatTemplate(const std::string& source, TemplateLimits limits)
    : program_(jinja::Parser(source).parse()), limits_(limits) {}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const OrderedJson& variables,
                                 std::chrono::system_clock::time_point now) const {
  const jinja::Limits limits{limits_.max_steps, limits_.max_output_bytes, limits_.max_memory_bytes,
                             limits_.max_depth};
  jinja::Evaluator evaluator(*program_, variables, limits, now);
  try {
    return evaluator.render();
  } catch (const jinja::Failure& failure) {
    fail("chat template, line {}: {}", evaluator.line(), failure.message);
  } catch (const jinja::RaisedByTemplate& raised) {
    throw Error(raised.message);
  }
}

}  // namespace tokamak
