"""Writes packing.json: what TRL's best-fit decreasing makes of some lists of lengths.

    tests/parity/reference.sh regenerate packing

A document's tokens are all its own index, so the packed rows show which documents they hold.
"""

import json
import pathlib
import random

from datasets import Dataset
from trl import pack_dataset


def groups(lengths: list[int], max_tokens: int) -> list[list[int]]:
    rows = Dataset.from_dict({"input_ids": [[i] * n for i, n in enumerate(lengths)]})
    packed = pack_dataset(rows, max_tokens, strategy="bfd")
    result = []
    for row in packed:
        at, group = 0, []
        for size in row["seq_lengths"]:
            group.append(row["input_ids"][at])
            at += size
        result.append(group)
    return result


def main() -> None:
    draw = random.Random(7)
    cases = []
    for count, low, high, max_tokens in ((12, 1, 10, 10), (60, 1, 32, 32), (150, 5, 90, 128), (40, 3, 6, 20),
                                         (1100, 1, 64, 64)):
        lengths = [draw.randint(low, high) for _ in range(count)]
        cases.append({"max_tokens": max_tokens, "lengths": lengths, "groups": groups(lengths, max_tokens)})
    text = "[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n"
    pathlib.Path(__file__).with_name("packing.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
