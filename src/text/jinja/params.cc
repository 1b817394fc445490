#include "text/jinja/params.h"

#include <algorithm>

namespace tokamak::jinja {

Params::Params(Heap& heap, std::string_view function, const Arguments& args,
               std::initializer_list<std::string_view> names, size_t required)
    : heap_(heap), function_(function), values_(names.size()) {
  if (args.positional.size() > names.size())
    raise("{} takes at most {} arguments, {} were given", function, names.size(),
          args.positional.size());
  std::copy(args.positional.begin(), args.positional.end(), values_.begin());
  for (const auto& [name, value] : args.keywords) {
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end()) raise("{} has no parameter '{}'", function, name);
    auto& slot = values_[static_cast<size_t>(it - names.begin())];
    if (slot) raise("{}: argument '{}' is given twice", function, name);
    slot = value;
  }
  for (size_t i = 0; i < required; ++i)
    if (!values_[i]) raise("{} needs argument '{}'", function, *(names.begin() + i));
}

int64_t Params::integer(size_t i, int64_t otherwise) const {
  if (!values_[i]) return otherwise;
  if (values_[i]->is_undefined()) undefined_used(*values_[i]);
  if (!values_[i]->is_integral())
    raise("{} needs an int, not {}", function_, type_name(*values_[i]));
  return values_[i]->as_int();
}

bool Params::boolean(size_t i, bool otherwise) const {
  return values_[i] ? truthy(*values_[i]) : otherwise;
}

std::string Params::text(size_t i, std::string_view otherwise) const {
  if (!values_[i]) return std::string(otherwise);
  if (!values_[i]->is_string()) raise("{} needs a str, not {}", function_, type_name(*values_[i]));
  return values_[i]->text();
}

std::string Params::printed(size_t i, std::string_view otherwise) const {
  return values_[i] ? to_text(heap_, *values_[i]) : std::string(otherwise);
}

void no_keywords(std::string_view function, const Arguments& args) {
  if (!args.keywords.empty()) raise("{} takes no keyword arguments", function);
}

}  // namespace tokamak::jinja
