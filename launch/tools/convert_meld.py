#!/usr/bin/env python3
r"""Turns the MELD folder into JSON lines, one row per utterance:

  {"text": "Ross: Oh!\nRachel: You're early.", "label": "surprise", "sentiment": "negative",
   "dialogue": "train-12", "utterance": 3}

`text` is the dialogue up to the utterance that the label is of, which is its last line.

  launch/tools/convert_meld.py meld/ out/ --train 3000 --test 1000 --balanced --seed 42 --context 4

writes out/meld_train.jsonl, out/meld_dev.jsonl and out/meld_test.jsonl. Wanted in the folder (as in declare-lab/MELD):
train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv. The data set's licence is GPL-3.0.
"""

import csv
import pathlib
import random

import convert_rows

SPLITS = ("train", "dev", "test")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")


def read_split(path: pathlib.Path, split: str, context: int) -> list[convert_rows.Row]:
    """Rows in the file's order. An utterance sees those before it of its own dialogue only."""
    reader = csv.DictReader(convert_rows.read_lines(path))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise SystemExit(f"error: {path}:1: got no column {', '.join(missing)}")
    rows: list[convert_rows.Row] = []
    spoken: dict[str, list[str]] = {}
    for record in reader:
        if any(not record[column] for column in COLUMNS):
            raise SystemExit(f"error: {path}:{reader.line_num}: got an empty or missing field, want all of them")
        lines = spoken.setdefault(record["Dialogue_ID"], [])
        lines.append(f"{record['Speaker']}: {' '.join(record['Utterance'].split())}")
        rows.append({"text": "\n".join(lines[-context - 1:]), "label": record["Emotion"],
                     "sentiment": record["Sentiment"], "dialogue": f"{split}-{record['Dialogue_ID']}",
                     "utterance": int(record["Utterance_ID"])})
    return rows


def main() -> None:
    parser = convert_rows.parser(__doc__, SPLITS)
    parser.add_argument("--context", type=int, default=5, metavar="N", help="utterances before the last (default 5)")
    args = parser.parse_args()
    if args.context < 0:
        parser.error(f"--context: got {args.context}, want 0 or more")
    for split in SPLITS:
        rows = read_split(args.folder / f"{split}_sent_emo.csv", split, args.context)
        wanted = getattr(args, split)
        chosen = convert_rows.choose(rows, wanted, args.balanced, random.Random(f"{args.seed} {split}"))
        convert_rows.write(args.out / f"meld_{split}.jsonl", chosen, wanted)


if __name__ == "__main__":
    main()
