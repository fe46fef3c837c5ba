"""Writes esc_bias.json: answers with the figures that the ESC preference-bias paper's data has.

    pip install numpy==2.4.6
    python tests/unit/rl/make_esc_bias.py

The predictions of the paper's repository are not part of this tree. Their figures are known: 1,611
rows, accuracy .2446, macro-F1 .2189, weighted F1 .2250, B .7666 and eight preferences. The counts
that are written here were searched for until the formulas below, which share no code with limbic,
give all of these figures in four and three digits.
"""

import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
LABELS = ["question", "restatement or paraphrasing", "reflection of feelings", "self-disclosure",
          "affirmation and reassurance", "providing suggestions", "information", "others"]
ROWS, RIGHT = 1611, 394
MACRO, WEIGHTED, BIAS = 0.2189, 0.2250, 0.7666
PREFERENCES = np.array([.632, .310, 1.021, .479, 2.536, 1.915, .219, .888])


def preferences(given: np.ndarray) -> np.ndarray:
    """given[i, j]: rows where i was given and j is right."""
    wrong = given - np.diag(np.diag(given))
    p = np.ones(len(given))
    for _ in range(20):
        for i in range(len(p)):
            p[i] = (wrong[i] * p / (p[i] + p)).sum() / (wrong[:, i] / (p[i] + p)).sum()
        p /= np.exp(np.log(p).mean())
    return len(p) * p / p.sum()


def f1_scores(given: np.ndarray) -> tuple[float, float]:
    support = given.sum(0)
    f1 = 2 * np.diag(given) / (given.sum(1) + support)
    return f1.mean(), (f1 * support).sum() / support.sum()


def distance(given: np.ndarray) -> float:
    p = preferences(given)
    macro, weighted = f1_scores(given)
    return (np.square((p - PREFERENCES) / 5e-4).sum() + ((p.std() - BIAS) / 5e-5) ** 2 +
            ((macro - MACRO) / 5e-5) ** 2 + ((weighted - WEIGHTED) / 5e-5) ** 2)


def is_as_published(given: np.ndarray) -> bool:
    p = preferences(given)
    macro, weighted = f1_scores(given)
    return (np.abs(p - PREFERENCES).max() < 5e-4 and abs(p.std() - BIAS) < 5e-5 and
            abs(macro - MACRO) < 5e-5 and abs(weighted - WEIGHTED) < 5e-5)


def start() -> np.ndarray:
    """Wrong answers as the preferences have them, right ones evenly spread."""
    shares = PREFERENCES[:, None] / (PREFERENCES[:, None] + PREFERENCES[None, :])
    np.fill_diagonal(shares, 0)
    given = np.rint(shares * (ROWS - RIGHT) / shares.sum())
    given += np.diag(np.full(8, RIGHT // 8))
    given[4, 4] += RIGHT - np.trace(given)
    given[4, 5] += ROWS - given.sum()
    return given


def search(draw: np.random.Generator) -> np.ndarray:
    given = start()
    best = distance(given)
    heat = 100.0
    while not is_as_published(given):
        diagonal = draw.random() < 0.3
        a, b, c, d = draw.integers(8, size=4)
        if diagonal:
            b, d = a, c
        elif a == b or c == d:
            continue
        step = draw.integers(1, 4)
        if given[a, b] <= step or (a, b) == (c, d):
            continue
        given[a, b] -= step
        given[c, d] += step
        now = distance(given)
        if now < best or draw.random() < np.exp((best - now) / heat):
            best = now
        else:
            given[a, b] += step
            given[c, d] -= step
        heat = max(0.05, heat * 0.9995)
    return given


def main() -> None:
    given = search(np.random.default_rng(7))
    assert given.sum() == ROWS and np.trace(given) == RIGHT
    out = {
        "labels": LABELS,
        "given": given.astype(int).tolist(),
        "preferences": preferences(given).tolist(),
        "bias": preferences(given).std(),
        "macro_f1": f1_scores(given)[0],
        "weighted_f1": f1_scores(given)[1],
    }
    (HERE / "esc_bias.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
