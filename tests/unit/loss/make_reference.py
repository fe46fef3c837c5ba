"""Writes reference.json: losses and gradients of the GRPO family in float64, written apart from limbic's code.

    tests/parity/reference.sh regenerate loss

The values come from plain loops over tokens in NumPy; the gradients from torch's autograd of the same formulas in
vector form, whose values must agree with the loops. Where TRL has the case, TRL's own _compute_loss must give the
same loss, too. Completions: two groups of two, of different lengths.
"""

import itertools
import json
import math
import pathlib
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

HERE = pathlib.Path(__file__).parent
LENGTHS = (3, 2, 1, 4)
GROUP = 2
MAX_LENGTH = 6
REWARDS = (0.5, 2.0, 1.0, -0.25)
TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "rloo")
OF_SEQUENCES = ("luspo", "rloo")  # they have no ratios of tokens
SCALES = ("group", "batch", "none")
CLIPS = ({"epsilon": 0.2}, {"epsilon": 0.1, "epsilon_high": 0.28}, {"epsilon": 0.2, "delta": 1.3})
KLS = (None, "k1", "k2", "k3", "k3 corrected")
BETA = 0.3


def make_data() -> dict:
    generator = np.random.default_rng(11)
    tokens = sum(LENGTHS)
    old = -3.0 * generator.random(tokens)
    data = {"old": old, "logprobs": old + 0.35 * generator.standard_normal(tokens),
            "reference": old + 0.4 * generator.standard_normal(tokens),
            "sampling": old + 0.5 * generator.standard_normal(tokens),
            "entropy": 2.0 * generator.random(tokens)}
    # float32 holds them exactly, so that the test's two precisions see the same numbers.
    return {name: np.float32(values).astype(np.float64) for name, values in data.items()}


def spans() -> list[range]:
    ends = np.cumsum(LENGTHS)
    return [range(end - length, end) for end, length in zip(ends, LENGTHS, strict=True)]


def deviation(values) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def advantages(scale: str) -> list[float]:
    out = []
    for first in range(0, len(REWARDS), GROUP):
        group = REWARDS[first:first + GROUP]
        mean = sum(group) / GROUP
        by = {"group": deviation(group) + 1e-4, "batch": deviation(REWARDS) + 1e-4, "none": 1.0}[scale]
        out += [(r - mean) / by for r in group]
    return out


def high_of(case: dict) -> float:
    return case.get("epsilon_high", case["epsilon"])


def kl_value(name: str, logp: float, reference: float) -> float:
    d = logp - reference
    return {"k1": d, "k2": d * d / 2}.get(name, math.exp(-d) + d - 1)


def surrogate_value(case: dict, ratio: float, logp: float, advantage: float) -> float:
    if case["type"] == "cispo":
        return -min(ratio, case["cap"]) * advantage * logp
    if case["type"] == "sapo":
        t = 1.0 if advantage > 0 else 1.05
        return -advantage * 4 / t / (1 + math.exp(-t * (ratio - 1)))
    left = min(ratio, case["delta"]) if "delta" in case else ratio
    right = min(max(ratio, 1 - case["epsilon"]), 1 + high_of(case))
    return -min(left * advantage, right * advantage)


def correction_value(case: dict, data: dict, span: range, token: int) -> float:
    mode = case.get("correction")
    if mode is None:
        return 1.0
    over = [token] if mode.startswith("token") else span
    ratio = math.exp(sum(data["old"][t] - data["sampling"][t] for t in over))
    low, high = case["bounds"]
    if mode.endswith("mask"):
        return ratio if low <= ratio <= high else 0.0
    return min(max(ratio, low), high)


def loss_by_hand(case: dict, data: dict) -> float:
    """Plain loops, one token at a time."""
    total, all_tokens = 0.0, sum(LENGTHS)
    chosen = selected_tokens(case, data)
    for i, span in enumerate(spans()):
        advantage, length = case["advantages"][i], len(span)
        sum_of_log_ratios = sum(data["logprobs"][t] - data["old"][t] for t in span)
        of_sequence = sum_of_log_ratios if case["type"] == "rloo" else sum_of_log_ratios / length
        for t in span:
            log_ratio = of_sequence if case["level"] == "sequence" else data["logprobs"][t] - data["old"][t]
            ratio = math.exp(log_ratio)
            value = surrogate_value(case, ratio, data["logprobs"][t], advantage)
            value *= chosen[t] * correction_value(case, data, span, t)
            if case["kl"]:
                kl = kl_value(case["kl"].split()[0], data["logprobs"][t], data["reference"][t])
                value += BETA * kl * (ratio if "corrected" in case["kl"] else 1.0)
            value *= case.get("weights", [1.0] * len(LENGTHS))[i]
            by = {"grpo": len(LENGTHS) * length, "sapo": len(LENGTHS) * length, "rloo": len(LENGTHS) * length,
                  "dr_grpo": len(LENGTHS) * MAX_LENGTH, "luspo": len(LENGTHS)}.get(case["type"], all_tokens)
            total += value / by
    if "entropy_coef" in case:
        total -= case["entropy_coef"] * sum(h * c for h, c in zip(data["entropy"], chosen, strict=True)) / sum(chosen)
    return total


def selected_tokens(case: dict, data: dict) -> list[float]:
    if "quantile" not in case:
        return [1.0] * sum(LENGTHS)
    threshold = np.quantile(data["entropy"], 1 - case["quantile"])
    return [1.0 if h >= threshold else 0.0 for h in data["entropy"]]


def loss_of_torch(case: dict, data: dict, logprobs: torch.Tensor, entropy: torch.Tensor) -> torch.Tensor:
    """The same formulas in vector form, for autograd."""
    def column(values):
        return torch.tensor(values, dtype=torch.float64)
    index = torch.tensor([i for i, n in enumerate(LENGTHS) for _ in range(n)])
    lengths = column(LENGTHS)[index]
    advantage = column(case["advantages"])[index]
    log_ratio = logprobs - column(data["old"])
    if case["level"] == "sequence":
        sums = torch.zeros(len(LENGTHS), dtype=torch.float64).index_add(0, index, log_ratio)
        log_ratio = sums[index] if case["type"] == "rloo" else sums[index] / lengths
    ratio = log_ratio.exp()
    if case["type"] == "cispo":
        loss = -ratio.detach().clamp(max=case["cap"]) * advantage * logprobs
    elif case["type"] == "sapo":
        t = torch.where(advantage > 0, column(1.0), column(1.05))
        loss = -torch.sigmoid(t * (ratio - 1)) * 4 / t * advantage
    else:
        left = ratio.clamp(max=case["delta"]) if "delta" in case else ratio
        right = ratio.clamp(1 - case["epsilon"], 1 + high_of(case))
        loss = -torch.min(left * advantage, right * advantage)
    chosen = column(selected_tokens(case, data))
    places = spans()
    loss = loss * chosen * column([correction_value(case, data, places[int(i)], t) for t, i in enumerate(index)])
    if case["kl"]:
        d = logprobs - column(data["reference"])
        kl = {"k1": d, "k2": d * d / 2}.get(case["kl"].split()[0], (-d).exp() + d - 1)
        loss = loss + BETA * kl * (ratio if "corrected" in case["kl"] else 1.0)
    if "weights" in case:
        loss = loss * column(case["weights"])[index]
    by = {"grpo": lengths * len(LENGTHS), "sapo": lengths * len(LENGTHS), "rloo": lengths * len(LENGTHS),
          "dr_grpo": len(LENGTHS) * MAX_LENGTH, "luspo": len(LENGTHS)}.get(case["type"], sum(LENGTHS))
    total = (loss / by).sum()
    if "entropy_coef" in case:
        total = total - case["entropy_coef"] * (entropy * chosen).sum() / chosen.sum()
    return total


class Accelerator:
    """One process."""

    num_processes = 1
    sync_gradients = True

    def gather(self, tensor):
        return tensor

    def reduce(self, tensor, reduction):
        return tensor

    def pad_across_processes(self, tensor, dim, pad_index):
        return tensor


def padded(values) -> torch.Tensor:
    out = torch.zeros(len(LENGTHS), MAX_LENGTH, dtype=torch.float64)
    for i, span in enumerate(spans()):
        out[i, :len(span)] = torch.tensor([values[t] for t in span], dtype=torch.float64)
    return out


def loss_of_rloo_trainer(case: dict, data: dict) -> float | None:
    """It has neither a KL in the loss nor anything on top."""
    if case["kl"] or {"delta", "correction", "quantile", "entropy_coef", "weights"} & set(case):
        return None
    mask = padded(np.ones(sum(LENGTHS)))
    inputs = {"prompt_ids": torch.zeros(4, 1, dtype=torch.long), "prompt_mask": torch.ones(4, 1),
              "completion_ids": torch.zeros(4, MAX_LENGTH, dtype=torch.long), "completion_mask": mask,
              "advantages": torch.tensor(case["advantages"], dtype=torch.float64),
              "old_logps": padded(data["old"]).sum(1)}
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (padded(data["logprobs"]), padded(data["entropy"]), None),
        aux_loss_enabled=False, epsilon_low=case["epsilon"], epsilon_high=high_of(case), accelerator=Accelerator(),
        model=SimpleNamespace(training=True), _metrics=defaultdict(lambda: defaultdict(list)))
    return float(RLOOTrainer._compute_loss(trainer, None, inputs))


def loss_of_trl(case: dict, data: dict) -> float | None:
    if case["type"] == "rloo":
        return loss_of_rloo_trainer(case, data)
    if case["kl"] in ("k1", "k2") or "weights" in case:
        return None
    mask = padded(np.ones(sum(LENGTHS)))
    corrected = "correction" in case
    inputs = {"prompt_ids": torch.zeros(4, 1, dtype=torch.long), "prompt_mask": torch.ones(4, 1),
              "completion_ids": torch.zeros(4, MAX_LENGTH, dtype=torch.long), "completion_mask": mask,
              "advantages": torch.tensor(case["advantages"], dtype=torch.float64), "num_items_in_batch": mask.sum(),
              "old_per_token_logps": padded(data["old"]), "ref_per_token_logps": padded(data["reference"])}
    if corrected:
        places = spans()
        weights = [correction_value(case, data, place, t) for place in places for t in place]
        inputs["importance_sampling_ratio"] = padded(weights)
    entropies = padded(data["entropy"])
    coefficient = case.get("entropy_coef", 0.0)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (padded(data["logprobs"]), entropies, None),
        aux_loss_enabled=False, top_entropy_quantile=case.get("quantile", 1.0), off_policy_mask_threshold=None,
        importance_sampling_level=case["level"], beta=BETA if case["kl"] else 0.0, loss_type=case["type"],
        epsilon_low=case["epsilon"], epsilon_high=case.get("cap", high_of(case)), use_vllm=corrected,
        vllm_importance_sampling_correction=corrected, _entropy_bonus_enabled=coefficient > 0,
        use_adaptive_entropy=False, entropy_coef=coefficient, current_gradient_accumulation_steps=1,
        max_completion_length=MAX_LENGTH, accelerator=Accelerator(), model=SimpleNamespace(training=True),
        _metrics=defaultdict(lambda: defaultdict(list)),
        args=SimpleNamespace(use_bias_correction_kl=bool(case["kl"] and "corrected" in case["kl"]),
                             delta=case.get("delta"), steps_per_generation=1, sapo_temperature_pos=1.0,
                             sapo_temperature_neg=1.05))
    trainer.get_high_entropy_mask = lambda *a: GRPOTrainer.get_high_entropy_mask(trainer, *a)
    return float(GRPOTrainer._compute_loss(trainer, None, inputs))


def evaluate(case: dict, data: dict) -> dict:
    logprobs = torch.tensor(data["logprobs"], dtype=torch.float64, requires_grad=True)
    entropy = torch.tensor(data["entropy"], dtype=torch.float64, requires_grad=True)
    loss = loss_of_torch(case, data, logprobs, entropy)
    by_hand = loss_by_hand(case, data)
    assert abs(loss.item() - by_hand) < 1e-12 * max(1.0, abs(by_hand)), (case, loss.item(), by_hand)
    trl = loss_of_trl(case, data)
    # TRL takes its quantile in float32.
    assert trl is None or abs(trl - by_hand) < 1e-7, (case, trl, by_hand)
    loss.backward()
    result = {"loss": by_hand, "gradient": [float(f"{g:.9g}") for g in logprobs.grad.tolist()]}
    if entropy.grad is not None and entropy.grad.abs().sum() > 0:
        result["entropy_gradient"] = [float(f"{g:.9g}") for g in entropy.grad.tolist()]
    return result


def grid() -> list[dict]:
    """Every loss type at the levels that it takes, with every clip it has, every KL and every scale."""
    cases = []
    for kind, level, kl, scale in itertools.product(TYPES, ("token", "sequence"), KLS, SCALES):
        if kind in OF_SEQUENCES and level == "token":
            continue
        clips = [{"epsilon": 0.2, "cap": 1.2}] if kind == "cispo" else CLIPS[:1] if kind == "sapo" else CLIPS
        for clip in clips:
            cases.append({"type": kind, "level": level, "kl": kl, "scale": scale} | clip)
    return cases


def extras() -> list[dict]:
    """What is put on top, for every loss type."""
    cases = []
    for kind in TYPES:
        base = {"type": kind, "level": "sequence" if kind in OF_SEQUENCES else "token", "kl": None, "scale": "group",
                "epsilon": 0.2} | ({"cap": 1.2} if kind == "cispo" else {})
        for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"):
            cases.append(base | {"correction": mode, "bounds": [0.5, 1.5]})
        cases.append(base | {"quantile": 0.35})
        cases.append(base | {"quantile": 0.5, "entropy_coef": 0.1, "kl": "k3 corrected"})
        cases.append(base | {"entropy_coef": 0.05})
        cases.append(base | {"weights": [1.0, 0.0, 2.5, 0.5], "kl": "k3"})
    return cases


def main() -> None:
    data = make_data()
    by_scale = {scale: advantages(scale) for scale in SCALES}
    cases = []
    for case in grid() + extras():
        result = evaluate(case | {"advantages": by_scale[case["scale"]]}, data)
        cases.append(case | result)
    golden = {"lengths": LENGTHS, "group": GROUP, "max_length": MAX_LENGTH, "rewards": REWARDS, "beta": BETA,
              "advantages": by_scale, "data": {name: values.tolist() for name, values in data.items()}}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = json.dumps(golden)[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (HERE / "reference.json").write_text(text)
    print(len(cases), "cases,", len(text), "bytes")


if __name__ == "__main__":
    main()
