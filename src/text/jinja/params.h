// Binds the arguments of a builtin to its parameters, as Python binds them.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/operators.h"
#include "text/jinja/value.h"

namespace tokamak::jinja {

class Params {
 public:
  // The first `required` parameters must be given.
  Params(Heap& heap, std::string_view function, const Arguments& args,
         std::initializer_list<std::string_view> names, size_t required = 0);

  bool given(size_t i) const { return values_[i].has_value(); }
  // The argument, or None when it is not given.
  const Value& operator[](size_t i) const { return values_[i] ? *values_[i] : none_; }
  // With defaults; raise on another type.
  int64_t integer(size_t i, int64_t otherwise) const;
  bool boolean(size_t i, bool otherwise) const;                     // truth of any value
  std::string text(size_t i, std::string_view otherwise) const;     // must be a str
  std::string printed(size_t i, std::string_view otherwise) const;  // str() of any value

 private:
  Heap& heap_;
  std::string function_;
  std::vector<std::optional<Value>> values_;
  Value none_;
};

void no_keywords(std::string_view function, const Arguments& args);

}  // namespace tokamak::jinja
