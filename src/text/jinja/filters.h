// The filters and tests by name: one explicit table per file.
#pragma once
#include <span>
#include <string_view>

#include "text/jinja/value.h"

namespace tokamak::jinja {

class Evaluator;

using Filter = Value (*)(Evaluator&, const Value& operand, Arguments&);
using Test = bool (*)(Evaluator&, const Value& operand, Arguments&);
struct FilterEntry {
  std::string_view name;
  Filter function;
};
struct TestEntry {
  std::string_view name;
  Test function;
};

std::span<const FilterEntry> text_filters();      // filters_text.cc
std::span<const FilterEntry> number_filters();    // filters_number.cc
std::span<const FilterEntry> sequence_filters();  // filters_sequence.cc
std::span<const FilterEntry> select_filters();    // filters_select.cc
std::span<const FilterEntry> order_filters();     // filters_order.cc
std::span<const TestEntry> all_tests();           // tests.cc

bool filter_exists(std::string_view name);
bool test_exists(std::string_view name);
// Raise for an unknown name.
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);

// attribute_path.cc: "a.b.0" of map, sort, groupby …; the value it leads to.
Value follow_path(Heap& heap, const Value& item, const Value& path,
                  const Value* otherwise = nullptr);
// Lower case for strings, other values as they are.
Value ignore_case(Heap& heap, const Value& v);

}  // namespace tokamak::jinja
