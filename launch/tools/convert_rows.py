"""What the converters of data folders share: choosing rows, and writing them as JSON lines. Standard library only."""

import argparse
import collections
import json
import pathlib
import random
import sys

Row = dict[str, object]


def parser(description: str, splits: tuple[str, ...]) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("folder", type=pathlib.Path, help="the data set as its source gives it")
    result.add_argument("out", type=pathlib.Path, help="folder for the JSON lines, one file per split")
    for split in splits:
        result.add_argument(f"--{split}", type=int, metavar="N", help=f"rows of {split} (default: all of them)")
    result.add_argument("--balanced", action="store_true",
                        help="take equally many rows of each label, as far as there are that many")
    result.add_argument("--seed", type=int, default=0, help="of the choice of rows and of their order (default 0)")
    return result


def quotas(counts: dict[str, int], total: int) -> dict[str, int]:
    """How many rows to take per label: equal shares, and what a rare label cannot give is shared by the others."""
    taken = {}
    left = total
    for position, label in enumerate(sorted(counts, key=lambda name: (counts[name], name))):
        taken[label] = min(counts[label], left // (len(counts) - position))
        left -= taken[label]
    return taken


def choose(rows: list[Row], total: int | None, balanced: bool, rng: random.Random) -> list[Row]:
    """`total` rows in a random order (None: all, or when balanced as many per label as the rarest has)."""
    rows = rng.sample(rows, len(rows))
    if not balanced:
        return rows[:total]
    counts = collections.Counter(str(row["label"]) for row in rows)
    wanted = quotas(counts, total if total is not None else min(counts.values(), default=0) * len(counts))
    chosen = []
    for row in rows:
        if wanted[str(row["label"])] > 0:
            wanted[str(row["label"])] -= 1
            chosen.append(row)
    return chosen


def write(path: pathlib.Path, rows: list[Row], wanted: int | None) -> None:
    """Writes aside and renames, so that a file is whole or not there. Says what it wrote, and when that is too little."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    with open(aside, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    aside.replace(path)
    counts = collections.Counter(str(row["label"]) for row in rows)
    shares = ", ".join(f"{label} {count}" for label, count in counts.most_common())
    print(f"{path}: {len(rows)} rows ({shares})", file=sys.stderr)
    if wanted is not None and len(rows) < wanted:
        print(f"{path}: got {len(rows)} rows, want {wanted}; the data has no more", file=sys.stderr)


def read_lines(path: pathlib.Path) -> list[str]:
    """The lines of a UTF-8 file without their ends. Ends the program, naming the line, when one is not UTF-8."""
    try:
        raw = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SystemExit(f"error: {path}: {error.strerror}") from None
    if raw and not raw[-1]:
        raw.pop()
    lines = []
    for number, line in enumerate(raw, 1):
        try:
            lines.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise SystemExit(f"error: {path}:{number}: got byte {line[error.start]:#04x}, want UTF-8; "
                             "older copies are Windows-1252: iconv -f WINDOWS-1252 -t UTF-8") from None
    return lines
