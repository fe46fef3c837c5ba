"""Writes golden.json: AdamW and gradient clipping of torch, learning-rate schedules of transformers.

    tests/parity/reference.sh regenerate optim
"""

import json
import pathlib

import torch
from transformers import get_scheduler

HERE = pathlib.Path(__file__).parent


def numbers(tensor: torch.Tensor) -> list[float]:
    return [float(value) for value in tensor]


def adamw(name: str, size: int, steps: int, max_norm: float, **options) -> dict:
    """Runs torch's single-tensor AdamW in float32; max_norm 0 leaves the gradients alone."""
    generator = torch.Generator().manual_seed(size)
    weight = torch.nn.Parameter(torch.randn(size, generator=generator))
    out = {"name": name, **options, "max_norm": max_norm, "start": numbers(weight.detach()), "steps": []}
    optimizer = torch.optim.AdamW([weight], foreach=False, fused=False, lr=1.0,
                                  betas=(options["beta1"], options["beta2"]), eps=options["eps"],
                                  weight_decay=options["weight_decay"])
    for step in range(steps):
        rate = options["lr"] / (1 + step)
        optimizer.param_groups[0]["lr"] = rate
        gradient = torch.randn(size, generator=generator) * 10.0 ** (step - 2)
        weight.grad = gradient.clone()
        norm = float(gradient.norm())
        if max_norm > 0:
            norm = float(torch.nn.utils.clip_grad_norm_([weight], max_norm))
        optimizer.step()
        state = optimizer.state[weight]
        out["steps"].append({"rate": rate, "gradient": numbers(gradient), "norm": norm,
                             "weight": numbers(weight.detach()), "first": numbers(state["exp_avg"]),
                             "second": numbers(state["exp_avg_sq"])})
    return out


def schedule(kind: str, total: int, warmup: int, ratio: float, peak: float, floor: float) -> dict:
    """Warm-up as Trainer resolves it: a number above 0 wins over ceil(ratio * total)."""
    steps = warmup if warmup > 0 else -int(-(total * ratio) // 1)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=peak)
    extra = {"min_lr_rate": floor} if kind == "cosine_with_min_lr" else {}
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=steps, num_training_steps=total,
                              scheduler_specific_kwargs=extra)
    rates = []
    for _ in range(total):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return {"kind": kind, "total": total, "warmup_steps": warmup, "warmup_ratio": ratio, "peak": peak,
            "min_lr_ratio": floor, "rates": rates}


def main() -> None:
    common = {"lr": 3e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    golden = {
        "adamw": [
            adamw("plain", 1, 3, 0.0, **common, weight_decay=0.0),
            adamw("decay", 19, 4, 0.0, **common, weight_decay=0.1),
            adamw("clipped", 37, 5, 1.0, **common, weight_decay=0.01),
            adamw("other_betas", 8, 4, 0.5, lr=1e-3, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.3),
        ],
        "schedules": [
            schedule(kind, total, warmup, ratio, 2e-4, 0.1 if total > 9 else 0.25)
            for kind in ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_min_lr")
            for total, warmup, ratio in ((11, 0, 0.0), (11, 3, 0.0), (7, 0, 0.3), (13, 2, 0.5), (1, 0, 0.0))
        ],
    }
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
