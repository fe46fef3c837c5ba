"""Writes golden.json: which tokens survive the logits warpers of transformers, and with which log-probability.

    tests/parity/reference.sh regenerate generation
"""

import json
import pathlib

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

HERE = pathlib.Path(__file__).parent


def warp(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    scores = logits.unsqueeze(0)
    if temperature != 1.0:
        scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k > 0:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1.0:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return torch.log_softmax(scores[0], -1)


def main() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = {"spread": 2.0 * torch.randn(23, generator=generator),
            "flat": 0.1 * torch.randn(17, generator=generator),
            # Equal logits around the k-th place: transformers keeps every one of them.
            "ties": torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0, 2.0, -1.0, 1.0])}
    cases = []
    for name, logits in rows.items():
        for temperature, top_k, top_p in ((1.0, 1, 1.0), (1.0, 3, 1.0), (0.5, 5, 1.0), (1.0, 100, 1.0),
                                          (1.0, 0, 0.1), (1.0, 0, 0.5), (1.7, 0, 0.9), (1.0, 0, 0.999),
                                          (0.7, 6, 0.8), (2.0, 4, 0.3)):
            if name == "ties" and top_p < 1.0:
                continue  # which of several equal tokens top-p keeps depends on torch's sort
            scores = warp(logits, temperature, top_k, top_p)
            kept = torch.nonzero(scores > -torch.inf)[:, 0]
            cases.append({"row": name, "logits": logits.tolist(), "temperature": temperature, "top_k": top_k,
                          "top_p": top_p, "kept": kept.tolist(), "logprobs": scores[kept].tolist()})
    (HERE / "golden.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
