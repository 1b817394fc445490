#!/usr/bin/env python3
"""Writes src/text/unicode_scripts.cc from perl's copy of the Unicode database (perl 5.36: Unicode 14).

Tokenizer files that use UnicodeScripts were made with the scripts of Unicode 9: younger characters
have none, and four characters have the script they had then.
"""
import subprocess
import sys

PERL = r"""
use Unicode::UCD qw(prop_invmap);
for my $p ("Script", "Age") {
  my ($list, $map) = prop_invmap($p);
  printf "%s %x %s\n", $p, $list->[$_], $map->[$_] for 0 .. $#$list;
}
"""
CHANGED_SINCE = {0x953: "Devanagari", 0x954: "Devanagari", 0x589: "Common", 0x61C: "Common"}
MERGED = {"Hiragana": "Han", "Katakana": "Han"}  # as SentencePiece's trainer counts them
MAX_AGE = 9


def expand(rows):
    out = [None] * 0x110000
    ends = [r[0] for r in rows[1:]] + [0x110000]
    for (begin, value), end in zip(rows, ends):
        for c in range(begin, min(end, 0x110000)):
            out[c] = value
    return out


def main():
    rows = {"Script": [], "Age": []}
    for line in subprocess.run(["perl", "-e", PERL], capture_output=True, text=True,
                               check=True).stdout.splitlines():
        prop, begin, value = line.split(None, 2)
        rows[prop].append((int(begin, 16), value))
    script, age = expand(rows["Script"]), expand(rows["Age"])

    def of(c):
        if c in CHANGED_SINCE:
            return CHANGED_SINCE[c]
        if c == ord(" ") or not age[c][0].isdigit() or int(age[c].split(".")[0]) > MAX_AGE:
            return None
        if c == 0x30FC:
            return "Han"
        return MERGED.get(script[c], script[c])

    names, ranges, last = {None: 0, "Unknown": 0}, [], 0
    for c in range(0x110000):
        name = of(c)
        number = names.setdefault(name, len(names) - 1)
        if number != last:
            ranges.append((c, number))
            last = number
    cells = [f"0x{c << 8 | n:X}" for c, n in ranges]
    lines = []
    while cells:
        line = "    "
        while cells and len(line) + len(cells[0]) + 2 <= 100:
            line += cells.pop(0) + ", "
        lines.append(line.rstrip())
    body = "\n".join(lines)
    with open(sys.argv[1] if len(sys.argv) > 1 else "src/text/unicode_scripts.cc", "w") as out:
        out.write(f"""// Made by tools/make_unicode_tables.py; do not edit.
#include "text/unicode_scripts.h"

#include <algorithm>
#include <array>

namespace tokamak::unicode {{
namespace {{

// First character of a range << 8 | number of its script (0: none).
constexpr std::array<uint32_t, {len(ranges)}> kScripts = {{
{body}}};

}}  // namespace

int merged_script(char32_t c) {{
  const auto after = std::upper_bound(kScripts.begin(), kScripts.end(), c << 8 | 0xFF);
  return after == kScripts.begin() ? 0 : static_cast<int>(*(after - 1) & 0xFF);
}}

}}  // namespace tokamak::unicode
""")


main()
