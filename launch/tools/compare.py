#!/usr/bin/env python3
"""Prints what a quickstart run changed: accuracy and F1 before and after, then time and memory of each stage.

    launch/tools/compare.py runs/quickstart

Reads <run>/<stage>/table.json of the evaluation stages that are there, and <run>/summary.json.
"""

import json
import pathlib
import sys

COLUMNS = {"zero_shot": "zero-shot", "zero_shot_choices": "zero-shot, choices", "sft_test": "SFT", "grpo_test": "GRPO"}


def read(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {path}: {error}") from None


def print_table(rows: list[list[str]]) -> None:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print(("  " + "   ".join(cells)).rstrip())


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def scores(tables: dict[str, dict]) -> list[list[str]]:
    rows = [[""] + [COLUMNS[stage] for stage in tables]]
    for title, key in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
        rows.append([title] + [percent(table.get(key)) for table in tables.values()])
    labels = sorted({label for table in tables.values() for label in table.get("per_label", {})})
    for label in labels:
        values = [table.get("per_label", {}).get(label, {}).get("f1") for table in tables.values()]
        rows.append([f"F1 {label}"] + [percent(value) for value in values])
    return rows


def stages(summary: dict) -> list[list[str]]:
    rows = [["stage", "steps", "seconds", "tokens", "peak memory"]]
    for stage in summary.get("stages", []):
        peak = stage.get("peak_rss_mb")
        memory = "-" if peak is None else f"{peak:.0f} MB per rank"
        if stage.get("peak_gpu_mb"):
            memory += f", {stage['peak_gpu_mb']:.0f} MB on its GPU"
        rows.append([stage["name"], str(stage.get("steps") or "-"), f"{stage['wall_seconds']:.1f}",
                     str(stage.get("tokens") or "-"), memory])
    rows.append(["all", "", f"{summary['wall_seconds']:.1f}", "", ""])
    return rows


def main() -> None:
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = pathlib.Path(sys.argv[1])
    tables = {stage: read(run / stage / "table.json") for stage in COLUMNS if (run / stage / "table.json").exists()}
    if not tables:
        sys.exit(f"error: {run}: got no <stage>/table.json of {', '.join(COLUMNS)}; did the run end?")
    print_table(scores(tables))
    print()
    print_table(stages(read(run / "summary.json")))


if __name__ == "__main__":
    main()
