"""Writes classification.json: scikit-learn's figures for random answers.

    tests/parity/reference.sh regenerate classification
"""

import json
import pathlib
import random

from sklearn.metrics import (accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score,
                             precision_recall_fscore_support)

HERE = pathlib.Path(__file__).parent
LABELS = ["anger", "fear", "joy", "sad", "surprise"]


def case(name: str, gold: list[str], predicted: list[str], labels: list[str]) -> dict:
    present = sorted(set(gold))
    precision, recall, f1, support = precision_recall_fscore_support(
        gold, predicted, labels=labels, zero_division=0)
    recalls = dict(zip(labels, recall))
    figures = {
        "accuracy": accuracy_score(gold, predicted),
        "macro_f1": f1_score(gold, predicted, labels=present, average="macro", zero_division=0),
        "micro_f1": f1_score(gold, predicted, labels=labels, average="micro", zero_division=0),
        "weighted_f1": f1_score(gold, predicted, labels=labels, average="weighted", zero_division=0),
        "uar": sum(recalls[label] for label in present) / len(present),
        "war": accuracy_score(gold, predicted),
        "invalid": sum(p not in labels for p in predicted) / len(gold),
    }
    if set(predicted) <= set(gold):  # else scikit-learn counts labels that do not stand in the data
        assert abs(figures["uar"] - balanced_accuracy_score(gold, predicted)) < 1e-12
    return {
        "name": name,
        "labels": labels,
        "answers": [list(pair) for pair in zip(gold, predicted)],
        "figures": figures,
        "by_label": {label: [precision[i], recall[i], f1[i], int(support[i])]
                     for i, label in enumerate(labels)},
        "confusion": confusion_matrix(gold, predicted, labels=labels).tolist(),
    }


def main() -> None:
    draw = random.Random(7)

    def answers(rows: int, right: float, weights: list[float], others: list[str]) -> tuple[list, list]:
        gold = draw.choices(LABELS, weights, k=rows)
        return gold, [g if draw.random() < right else draw.choice(others) for g in gold]

    cases = [
        case("even", *answers(120, 0.6, [1, 1, 1, 1, 1], LABELS), LABELS),
        case("skewed", *answers(120, 0.5, [50, 10, 5, 2, 1], LABELS), LABELS),
        case("a label that is not in the data", *answers(60, 0.5, [1, 1, 1, 1, 0], LABELS), LABELS),
        case("a label that is never given", *answers(60, 0.0, [1, 1, 1, 1, 1], LABELS[:3]), LABELS),
        case("answers that are no label", *answers(80, 0.4, [3, 1, 1, 1, 1], [*LABELS, "", "happy"]), LABELS),
        case("all right", *answers(10, 1.0, [1, 1, 1, 1, 1], LABELS), LABELS),
        case("all outside", *answers(10, 0.0, [1, 1, 1, 1, 1], ["?"]), LABELS),
        case("one row", ["joy"], ["sad"], LABELS),
    ]
    (HERE / "classification.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
