#!/usr/bin/env python3
"""Writes newer_characters_table.h: the characters that Unicode 15 and 16 added.

The categories are asked from the regular expressions of the `tokenizers` package (Unicode 16), what
was there before from a Python whose `unicodedata` is Unicode 14:
tests/parity/reference.sh regenerate --write newer_characters
"""
import unicodedata
from pathlib import Path

from tokenizers import Regex, normalizers

CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co "
              "Cn").split()
ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HEAD = """// Made by make_newer_characters.py. Do not edit.
#pragma once

#include <cstdint>

namespace limbic::data {

// Characters [first, last] that Unicode 15 and 16 added, or moved to another category, and a
// character of Unicode 14 of the same category, byte length and (Han or not) script.
struct NewerCharacters {
  std::uint32_t first;
  std::uint32_t last;
  std::uint32_t stand_in;
};

// clang-format off
inline constexpr NewerCharacters kNewerCharacters[] = {
"""
TAIL = """};
// clang-format on

}  // namespace limbic::data
"""


def members(char_class):
    """The characters that a class of the package's regular expressions has."""
    others = normalizers.Replace(Regex(f"[^{char_class}]"), "")
    found = set()
    for start in range(0, len(ALL), 8192):
        found |= set(others.normalize_str("".join(ALL[start:start + 8192])))
    return found


def main():
    assert unicodedata.unidata_version == "14.0.0", "want the Python of Debian 12"
    category = {c: name for name in CATEGORIES for c in members(r"\p{%s}" % name)}
    assert len(category) == len(ALL)
    han, word = members(r"\p{Han}"), members(r"\w")

    def kind(c):
        return category[c], len(c.encode()), c in han

    newer = [c for c in ALL if unicodedata.category(c) != category[c]]
    old = {}
    for c in ALL:
        if unicodedata.category(c) == category[c]:
            old.setdefault(kind(c), c)
    ranges = []
    for c in newer:
        stand_in = old[kind(c)]
        assert (c in word) == (stand_in in word)
        if ranges and ranges[-1][1] + 1 == ord(c) and ranges[-1][2] == ord(stand_in):
            ranges[-1][1] = ord(c)
        else:
            ranges.append([ord(c), ord(c), ord(stand_in)])
    rows = [", ".join("{0x%X, 0x%X, 0x%X}" % tuple(row) for row in ranges[i:i + 3])
            for i in range(0, len(ranges), 3)]
    path = Path(__file__).resolve().with_name("newer_characters_table.h")
    path.write_text(HEAD + "".join("    " + row + ",\n" for row in rows) + TAIL)
    print(f"{len(newer)} characters in {len(ranges)} ranges")


if __name__ == "__main__":
    main()
