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
    """given[..., i, j]: rows where i was given and j is right; result [..., i]."""
    wrong = given * (1 - np.eye(8))
    p = np.ones(given.shape[:-1])
    for _ in range(20):
        for i in range(8):
            pair = p[..., i, None] + p
            p[..., i] = (wrong[..., i, :] * p / pair).sum(-1) / (wrong[..., :, i] / pair).sum(-1)
        p /= np.exp(np.log(p).mean(-1, keepdims=True))
    return 8 * p / p.sum(-1, keepdims=True)


def f1_scores(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Macro and weighted, each [...]."""
    support = given.sum(-2)
    f1 = 2 * np.diagonal(given, axis1=-2, axis2=-1) / (given.sum(-1) + support)
    return f1.mean(-1), (f1 * support).sum(-1) / ROWS


def bias_error(given: np.ndarray) -> np.ndarray:
    """The largest difference from a published digit, in halves of that digit; below 1 is equal."""
    p = preferences(given)
    return np.maximum(np.abs(p - PREFERENCES).max(-1) / 5e-4, np.abs(p.std(-1) - BIAS) / 5e-5)


def f1_error(given: np.ndarray) -> np.ndarray:
    macro, weighted = f1_scores(given)
    return np.maximum(np.abs(macro - MACRO), np.abs(weighted - WEIGHTED)) / 5e-5


def start() -> np.ndarray:
    """Wrong answers as the preferences have them, right ones evenly spread."""
    shares = PREFERENCES[:, None] / (PREFERENCES[:, None] + PREFERENCES)
    np.fill_diagonal(shares, 0)
    given = np.rint(shares * (ROWS - RIGHT) / shares.sum())
    given[4, 5] += ROWS - RIGHT - given.sum()
    return given + np.diag(np.append(np.full(7, RIGHT // 8), RIGHT - 7 * (RIGHT // 8)))


def search(given: np.ndarray, error, cells: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Moves counts between cells until the error is below 1: the best of many moves each time, and
    many moves at once where there is none."""
    best = error(given)
    while best >= 1:
        tries = np.repeat(given[None], 512, axis=0)
        for one in tries:
            for _ in range(draw.integers(1, 4)):
                a, b = cells[draw.integers(len(cells), size=2)]
                one[tuple(a)] -= 1
                one[tuple(b)] += 1
        tries = tries[(tries[:, cells[:, 0], cells[:, 1]] >= 1).all(-1)]
        errors = error(tries)
        k = errors.argmin()
        if errors[k] < best or draw.random() < 0.02:
            given, best = tries[k], errors[k]
    return given


def main() -> None:
    draw = np.random.default_rng(7)
    diagonal = np.eye(8, dtype=bool)
    given = search(start(), bias_error, np.argwhere(~diagonal), draw)
    given = search(given, f1_error, np.argwhere(diagonal), draw)
    assert given.sum() == ROWS and np.trace(given) == RIGHT
    assert bias_error(given) < 1 and f1_error(given) < 1
    p = preferences(given)
    macro, weighted = f1_scores(given)
    out = {
        "labels": LABELS,
        "given": given.astype(int).tolist(),
        "preferences": p.tolist(),
        "bias": p.std(),
        "macro_f1": macro,
        "weighted_f1": weighted,
    }
    (HERE / "esc_bias.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
