#!/usr/bin/env python3
"""Writes src/text/unicode_scripts.cc, unicode_ages.cc and unicode_young.cc.

Sources: perl's copy of the Unicode database (perl 5.36: Unicode 14) for scripts and ages, the PyPI
packages unicodedata2==16.0.0 and regex for what came after.

The reference library mixes Unicode versions, and token ids depend on them:
  scripts: Unicode 9 (four characters have changed since); punctuation, control, Bert's accents: 8;
  normal forms and StripAccents: 9; regular expressions: 16 (PCRE2 10.42 knows 14).
"""
import subprocess

import regex
import unicodedata2

PERL = r"""
use Unicode::UCD qw(prop_invmap);
for my $p ("Script", "Age") {
  my ($list, $map) = prop_invmap($p);
  printf "%s %x %s\n", $p, $list->[$_], $map->[$_] for 0 .. $#$list;
}
"""
CHANGED_SINCE_9 = {0x953: "Devanagari", 0x954: "Devanagari", 0x589: "Common", 0x61C: "Common"}
MERGED = {"Hiragana": "Han", "Katakana": "Han"}  # as SentencePiece's trainer counts them
SCRIPTS = sorted({"Han", "Hiragana", "Katakana", "Latin", "Cyrillic", "Arabic", "Devanagari", "Greek",
                  "Hangul", "Thai", "Hebrew", "Telugu", "Kannada", "Tamil", "Bengali"})
NOTE = "// Made by tools/make_unicode_tables.py; do not edit.\n"


def expand(rows):
    out = [None] * 0x110000
    ends = [r[0] for r in rows[1:]] + [0x110000]
    for (begin, value), end in zip(rows, ends):
        for c in range(begin, min(end, 0x110000)):
            out[c] = value
    return out


def database():
    rows = {"Script": [], "Age": []}
    for line in subprocess.run(["perl", "-e", PERL], capture_output=True, text=True,
                               check=True).stdout.splitlines():
        prop, begin, value = line.split(None, 2)
        rows[prop].append((int(begin, 16), value))
    ages = [float(a) if a[0].isdigit() else 99.0 for a in expand(rows["Age"])]
    return expand(rows["Script"]), ages


def table(cells):
    lines = []
    while cells:
        line = "    "
        while cells and len(line) + len(cells[0]) + 2 <= 100:
            line += cells.pop(0) + ", "
        lines.append(line.rstrip())
    return "\n".join(lines)


def write(name, *parts):
    with open(f"src/text/{name}", "w") as out:
        out.write(NOTE + "".join(parts))


def change_points(value):
    points, last = [], 0
    for c in range(0x110000):
        v = value(c)
        if v != last:
            points.append((c, v))
            last = v
    return points


def lookup(name, function, points, what):
    return f"""#include "text/unicode_tables.h"

#include <algorithm>
#include <array>

namespace tokamak::unicode {{
namespace {{

// First character of a range << 8 | {what}.
constexpr std::array<uint32_t, {len(points)}> {name} = {{
{table([f"0x{c << 8 | n:X}" for c, n in points])}}};

}}  // namespace

int {function}(char32_t c) {{
  const auto after = std::upper_bound({name}.begin(), {name}.end(), c << 8 | 0xFF);
  return after == {name}.begin() ? 0 : static_cast<int>(*(after - 1) & 0xFF);
}}

}}  // namespace tokamak::unicode
"""


def scripts(script, age):
    names = {None: 0, "Unknown": 0}

    def of(c):
        if c in CHANGED_SINCE_9:
            name = CHANGED_SINCE_9[c]
        elif c == ord(" ") or age[c] >= 10:
            name = None
        else:
            name = "Han" if c == 0x30FC else MERGED.get(script[c], script[c])
        return names.setdefault(name, len(names) - 1)

    write("unicode_scripts.cc", lookup("kScripts", "merged_script", change_points(of),
                                       "number of its script (0: none)"))


def ages(age):
    def of(c):
        return 8 if age[c] < 9 else 9 if age[c] < 10 else 0

    write("unicode_ages.cc", lookup("kAges", "early_age", change_points(of),
                                    "8, 9 or 0 for later and unassigned"))


def young(age):
    is_alphabetic = regex.compile(r"\p{Alphabetic}")
    script_of = [(s, regex.compile(r"\p{Script=%s}" % s)) for s in SCRIPTS]

    def row(c):
        char = chr(c)
        category = unicodedata2.category(char)
        if age[c] < 99 or category in ("Cn", "Cs"):
            return None
        name = next((s for s, r in script_of if r.match(char)), "")
        return category, name, bool(is_alphabetic.match(char))

    rows, last = [], None
    for c in range(0x110000):
        r = row(c)
        if r and last == r and rows[-1][1] == c - 1:
            rows[-1][1] = c
        elif r:
            rows.append([c, c, r])
        last = r
    body = "".join(f'    {{0x{a:X}, 0x{b:X}, "{r[0]}", "{r[1].lower()}", {str(r[2]).lower()}}},\n'
                   for a, b, r in rows)
    write("unicode_young.cc", f"""#include "text/unicode_tables.h"

#include <array>

namespace tokamak::unicode {{
namespace {{

constexpr std::array<YoungRange, {len(rows)}> kYoung = {{{{
{body}}}}};

}}  // namespace

std::span<const YoungRange> young_ranges() {{ return kYoung; }}

}}  // namespace tokamak::unicode
""")


def main():
    script, age = database()
    scripts(script, age)
    ages(age)
    young(age)


main()
