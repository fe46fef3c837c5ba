"""Writes golden.json: losses, gradients and clip counts of TRL's own GRPOTrainer._compute_loss in float64.

    pip install torch==2.11.0 trl==1.16.0
    python tests/unit/rl/make_golden.py

The trainer is a stub: it hands back a leaf of log-probabilities where the real one runs a model. Everything from the
ratio to the returned loss is TRL's code. A step of several micro-batches calls it once per micro-batch and adds the
losses up, as the optimizer step does.
"""

import json
import pathlib
from collections import defaultdict
from types import SimpleNamespace

import torch
from trl.trainer.grpo_trainer import GRPOTrainer

HERE = pathlib.Path(__file__).parent
LENGTHS = (3, 5, 1, 4)
MAX_LENGTH = 6


class Accelerator:
    """One process."""

    num_processes = 1
    sync_gradients = True

    def gather(self, tensor):
        return tensor

    def reduce(self, tensor, reduction):
        return tensor


def stub(case: dict, micro_batches: int, logprobs: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", beta=case["beta"], loss_type=case["loss_type"],
        epsilon_low=case["epsilon"], epsilon_high=case["epsilon_high"], use_vllm=False,
        vllm_importance_sampling_correction=False, _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=micro_batches, max_completion_length=MAX_LENGTH, accelerator=Accelerator(),
        model=SimpleNamespace(training=True), _metrics=defaultdict(lambda: defaultdict(list)),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=micro_batches))


def step(case: dict, data: dict, cuts: list[slice]) -> dict:
    leaf = data["logprobs"].clone().requires_grad_()
    total, sums = 0.0, defaultdict(float)
    for cut in cuts:
        mask = data["mask"][cut]
        rows = mask.size(0)
        inputs = {"prompt_ids": torch.zeros(rows, 1, dtype=torch.long), "prompt_mask": torch.ones(rows, 1),
                  "completion_ids": torch.zeros(rows, MAX_LENGTH, dtype=torch.long), "completion_mask": mask,
                  "advantages": data["advantages"][cut], "num_items_in_batch": data["mask"].sum(),
                  "ref_per_token_logps": data["ref_logprobs"][cut]}
        if case["old"]:
            inputs["old_per_token_logps"] = data["old_logprobs"][cut]
        trainer = stub(case, len(cuts), leaf[cut])
        total = total + GRPOTrainer._compute_loss(trainer, None, inputs)
        metrics = trainer._metrics["train"]
        for name, key in (("kl", "kl"), ("clip_low", "clip_ratio/low_mean"), ("clip_high", "clip_ratio/high_mean")):
            sums[name] += metrics[key][0] * float(mask.sum()) if metrics[key] else 0.0
    total.backward()
    return {"loss": float(total.detach()), "gradient": leaf.grad[data["mask"].bool()].tolist(), **sums}


def make_data() -> dict:
    generator = torch.Generator().manual_seed(7)
    shape = (len(LENGTHS), MAX_LENGTH)
    old = -3.0 * torch.rand(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    data = {"old_logprobs": old, "logprobs": old + 0.3 * noise[0], "ref_logprobs": old + 0.4 * noise[1],
            "advantages": torch.tensor([1.25, -0.75, -1.5, 0.5], dtype=torch.float64)}
    # The test computes in float32 from the same numbers.
    data = {name: value.float().double() for name, value in data.items()}
    data["mask"] = torch.tensor([[1.0 if t < n else 0.0 for t in range(MAX_LENGTH)] for n in LENGTHS],
                                dtype=torch.float64)
    return data


def main() -> None:
    data = make_data()
    inside = data["mask"].bool()
    flat = {name: data[name][inside].tolist() for name in ("logprobs", "old_logprobs", "ref_logprobs")}
    cases = []
    for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo"):
        for beta, epsilon, epsilon_high, old in ((0.0, 0.2, 0.2, True), (0.0, 0.2, 0.28, True),
                                                 (0.04, 0.1, 0.5, True), (0.5, 0.2, 0.2, False),
                                                 (0.0, 0.2, 0.2, False)):
            case = {"loss_type": loss_type, "beta": beta, "epsilon": epsilon, "epsilon_high": epsilon_high, "old": old}
            cases.append(case | step(case, data, [slice(0, 4)]))
            # TRL averages bnpo within each micro-batch, limbic over the step; the others do not depend on the cut.
            if loss_type != "bnpo":
                cut = step(case, data, [slice(0, 2), slice(2, 4)])
                assert abs(cut["loss"] - cases[-1]["loss"]) < 1e-12, (case, cut["loss"], cases[-1]["loss"])
    golden = {"lengths": LENGTHS, "max_length": MAX_LENGTH, "advantages": data["advantages"].tolist(), **flat,
              "cases": cases}
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
