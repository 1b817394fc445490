#include "guide/schema_formats.h"

#include <map>

#include "base/error.h"

namespace tokamak::guide {
namespace {

std::map<std::string, std::string> make_patterns() {
  const std::string date =
      "[1-9]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|"
      "30)|02-(?:0[1-9]|1\\d|2[0-8]))";
  const std::string time =
      "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
  const std::string label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  const std::string host = label + "(?:\\." + label + "){0,3}";
  const std::string byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  const std::string ipv4 = byte + "(?:\\." + byte + "){3}";
  const std::string h = "[0-9A-Fa-f]{1,4}";
  const std::string ipv6 = "(?:" + h + ":){7}" + h + "|(?:" + h + ":){1,6}:" + h + "|(?:" + h +
                           ":){1,7}:|:(?::" + h + "){1,7}|::";
  const std::string path = "(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*";
  return {
      {"date", date},
      {"time", time},
      {"date-time", date + "T" + time},
      {"duration",
       "P(?:\\d{1,4}W|(?:\\d{1,4}Y)?(?:\\d{1,4}M)?\\d{1,4}D|\\d{1,4}Y(?:\\d{1,4}M)?|"
       "\\d{1,4}M|(?:\\d{1,4}D)?T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|"
       "\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))"},
      {"email",
       "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,10}){0,3}@" + host + "\\.[A-Za-z]{2,10}"},
      {"hostname", host},
      {"ipv4", ipv4},
      {"ipv6", ipv6},
      {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
      {"uri", "[A-Za-z][A-Za-z0-9+.-]*://" + host + "(?::\\d{1,4})?(?:/" + path + ")?(?:\\?" +
                  path + ")?(?:#" + path + ")?"},
      {"json-pointer", "(?:/(?:[^~/\\\\\"]|~[01])*)*"},
      {"password", ""},
      {"binary", ""},
      {"byte", ""},
      {"path", ""},
      {"file-path", ""},
      {"directory-path", ""},
      {"markdown", ""},
  };
}

}  // namespace

const std::string& format_pattern(const std::string& format, const std::string& where) {
  static const std::map<std::string, std::string> kPatterns = make_patterns();
  const auto it = kPatterns.find(format);
  if (it != kPatterns.end()) return it->second;
  std::string known;
  for (const auto& [name, pattern] : kPatterns)
    if (!pattern.empty()) known += (known.empty() ? "" : ", ") + name;
  fail("{}/format: '{}' is not supported; known: {}", where, format, known);
}

}  // namespace tokamak::guide
