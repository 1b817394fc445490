// Takes calls of tools out of an output as it grows.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serve/tool_format.h"

namespace tokamak::serve {

// One call, a JSON object with a name and arguments, character by character.
class CallScanner {
 public:
  explicit CallScanner(std::string arguments_key) : key_of_arguments_(std::move(arguments_key)) {}
  bool feed(char c);  // false: this is no call
  bool done() const { return state_ == State::done; }
  const std::string& name() const { return name_; }  // empty: not seen yet
  // Text of the arguments, JSON, that was not taken yet; complete when done.
  std::string take_arguments();

 private:
  enum class State { begin, key_or_end, key, colon, before_value, value, done };
  bool value(char c);
  bool end_value();
  State state_ = State::begin;
  std::string key_of_arguments_, key_, value_, name_, arguments_;
  bool escaped_ = false, in_string_ = false, streams_ = false, any_arguments_ = false;
  int depth_ = 0;
};

// What became certain.
struct ToolNews {
  struct Call {
    size_t index = 0;
    std::string name;       // with its first news alone
    std::string arguments;  // more of them
  };
  std::string content;  // text that is no call
  std::vector<Call> calls;
};

class ToolParser {
 public:
  // begun: the output goes on behind format.begin().
  ToolParser(ToolFormat format, bool begun);
  ToolNews push(std::string_view text);
  ToolNews finish();
  size_t calls() const { return calls_; }

 private:
  bool outside(ToolNews& news);  // false: more text is needed
  bool inside(ToolNews& news);
  bool scan(ToolNews& news);
  void say(std::string_view text, ToolNews& news);
  void tell(ToolNews& news);

  ToolFormat format_;
  std::string rest_;   // not looked at yet
  std::string space_;  // white space that may be in front of a call
  std::string raw_;    // of the call that is read
  bool inside_, at_start_ = true, told_ = false;
  std::optional<CallScanner> call_;
  size_t calls_ = 0;
};

}  // namespace tokamak::serve
