// The pieces that JSON texts are made of, as expressions.
#pragma once
#include <map>
#include <string>

#include "base/json.h"
#include "guide/expr.h"

namespace tokamak::guide {

class JsonText {
 public:
  // compact: no white space between values; else a space, or a line end and up to 20 spaces, where
  // JSON has it.
  JsonText(Rules& rules, bool compact);

  ExprPtr space() const { return space_; }
  ExprPtr comma() const { return comma_; }      // with the white space behind it
  ExprPtr string();                             // any
  ExprPtr string_of(int64_t min, int64_t max);  // characters
  // The texts that `content`, over plain characters, stands for, in quotes, each in one spelling.
  ExprPtr quoted(const ExprPtr& content);
  ExprPtr number();
  ExprPtr integer();
  ExprPtr value();   // any
  ExprPtr object();  // any
  ExprPtr array();   // any
  ExprPtr exactly(const OrderedJson& value);
  ExprPtr pair(ExprPtr key, ExprPtr value) const;
  ExprPtr braces(ExprPtr pairs) const;
  ExprPtr brackets(ExprPtr items) const;

 private:
  ExprPtr escaped(const ExprPtr& e);
  ExprPtr shared(int32_t& id, const char* name, ExprPtr (JsonText::*make)());
  ExprPtr make_string();
  ExprPtr make_value();
  ExprPtr make_object();
  ExprPtr make_array();
  ExprPtr make_number();
  ExprPtr make_integer();

  Rules& rules_;
  ExprPtr space_, comma_;
  int32_t string_ = -1, number_ = -1, integer_ = -1, value_ = -1, object_ = -1, array_ = -1;
  std::map<const Expr*, ExprPtr> escaped_;
  std::vector<ExprPtr> keep_;  // so that their addresses stay theirs
};

}  // namespace tokamak::guide
