#include "text/jinja/filters.h"

#include <string>
#include <unordered_map>

#include "text/jinja/operators.h"

namespace tokamak::jinja {

namespace {

const std::unordered_map<std::string_view, Filter>& filter_map() {
  static const auto map = [] {
    std::unordered_map<std::string_view, Filter> m;
    for (auto table :
         {text_filters(), number_filters(), sequence_filters(), select_filters(), order_filters()})
      for (const FilterEntry& e : table) m.emplace(e.name, e.function);
    return m;
  }();
  return map;
}

const std::unordered_map<std::string_view, Test>& test_map() {
  static const auto map = [] {
    std::unordered_map<std::string_view, Test> m;
    for (const TestEntry& e : all_tests()) m.emplace(e.name, e.function);
    return m;
  }();
  return map;
}

}  // namespace

bool filter_exists(std::string_view name) { return filter_map().count(name) > 0; }
bool test_exists(std::string_view name) { return test_map().count(name) > 0; }

Filter find_filter(std::string_view name) {
  const auto it = filter_map().find(name);
  if (it == filter_map().end()) raise("there is no filter named '{}'", name);
  return it->second;
}

Test find_test(std::string_view name) {
  const auto it = test_map().find(name);
  if (it == test_map().end()) raise("there is no test named '{}'", name);
  return it->second;
}

}  // namespace tokamak::jinja
