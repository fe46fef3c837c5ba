#!/usr/bin/env python3
"""Turns the GoEmotions folder into JSON lines with one of seven labels: {"text": "...", "label": "joy"}.

The 27 emotions are folded into Ekman's six by the folder's ekman_mapping.json; neutral stays neutral. Rows that
still have several labels are left out, and so are repeated texts and training texts that the test split has too.

  launch/tools/convert_goemotions.py goemotions/ out/ --train 3000 --test 1000 --balanced --seed 42

writes out/goemotions_train.jsonl, out/goemotions_dev.jsonl and out/goemotions_test.jsonl. Wanted in the folder (as in
google-research/google-research, goemotions/data): train.tsv, dev.tsv, test.tsv, emotions.txt, ekman_mapping.json.
"""

import json
import pathlib
import random

import convert_rows

SPLITS = ("train", "dev", "test")


def read_fold(folder: pathlib.Path) -> list[str]:
    """The Ekman label of every label id."""
    names = [name.strip() for name in convert_rows.read_lines(folder / "emotions.txt")]
    mapping = json.loads("\n".join(convert_rows.read_lines(folder / "ekman_mapping.json")))
    fold = {emotion: label for label, emotions in mapping.items() for emotion in emotions}
    fold["neutral"] = "neutral"
    unknown = [name for name in names if name not in fold]
    if unknown:
        raise SystemExit(f"error: {folder / 'ekman_mapping.json'}: got no label for {', '.join(unknown)}")
    return [fold[name] for name in names]


def unquote(text: str) -> str:
    """Some texts are quoted as in CSV: quotes around, quotes inside doubled."""
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        return text[1:-1].replace('""', '"')
    return text


def read_split(path: pathlib.Path, fold: list[str], seen: set[str]) -> list[convert_rows.Row]:
    """Rows with one label whose text is not in `seen`; adds their texts to it."""
    rows: list[convert_rows.Row] = []
    for number, line in enumerate(convert_rows.read_lines(path), 1):
        fields = line.split("\t")
        try:
            labels = {fold[int(label)] for label in fields[1].split(",")}
        except (IndexError, ValueError):
            raise SystemExit(f"error: {path}:{number}: got {line[:60]!r}, want text, label ids, comment id") from None
        text = unquote(fields[0]).strip()
        if len(labels) == 1 and text and text not in seen:
            seen.add(text)
            rows.append({"text": text, "label": labels.pop()})
    return rows


def main() -> None:
    args = convert_rows.parser(__doc__, SPLITS).parse_args()
    fold = read_fold(args.folder)
    seen: set[str] = set()
    for split in reversed(SPLITS):  # test first: what it has, the others lose
        rows = read_split(args.folder / f"{split}.tsv", fold, seen)
        wanted = getattr(args, split)
        chosen = convert_rows.choose(rows, wanted, args.balanced, random.Random(f"{args.seed} {split}"))
        convert_rows.write(args.out / f"goemotions_{split}.jsonl", chosen, wanted)


if __name__ == "__main__":
    main()
