// Python's operators on values: truth, equality, order, hashing, arithmetic, iteration, printing.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace tokamak::jinja {

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

std::string type_name(const Value& v);  // as Python names it
bool truthy(const Value& v);
bool equal(Heap& heap, const Value& a, const Value& b);
bool less(Heap& heap, const Value& a, const Value& b);  // raises where Python's < does
bool compare(Heap& heap, CompareOp op, const Value& a, const Value& b);
bool contains(Heap& heap, const Value& container, const Value& item);
size_t hash_value(Heap& heap, const Value& v);  // raises for unhashable values
size_t hash_text(std::string_view text);

Value binary(Heap& heap, BinaryOp op, const Value& a, const Value& b);
Value negate(const Value& v);
Value positive(const Value& v);
[[noreturn]] void undefined_used(const Value& v);

// len(); nothing for values without one.
std::optional<size_t> length(const Value& v);
// iter(); raises "not iterable".
bool iterable(const Value& v);
Value iterate(Heap& heap, const Value& v);
std::vector<Value> to_vector(Heap& heap, const Value& v);
std::vector<Value> characters(Heap& heap, const Value& string);

// str() and repr().
std::string to_text(Heap& heap, const Value& v);
void append_text(Heap& heap, std::string& out, const Value& v);
void append_repr(Heap& heap, std::string& out, const Value& v);
std::string float_repr(double d);
std::string quote(std::string_view text);  // repr() of a str
std::string escape_html(std::string_view text);

// Python's % on strings and str.format.
std::string format_percent(Heap& heap, std::string_view format, const Value& args);

// int(text, base) and float(text); nothing where Python raises ValueError.
std::optional<int64_t> parse_int(std::string_view text, int64_t base);
std::optional<double> parse_float(std::string_view text);
int64_t float_to_int(double d);  // raises when it does not fit

}  // namespace tokamak::jinja
