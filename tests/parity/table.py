#!/usr/bin/env python3
"""limbic's binary against transformers and peft, family by family, in float32 on the CPU: prints one table.

    tests/parity/reference.sh table
    tests/parity/reference.sh table --smol models/SmolLM2-135M-Instruct
    tests/parity/reference.sh table --only gemma2 phi3

A family is a random model of odd sizes (hidden 60, vocabulary 1003, heads of 24, 3 of them for keys and values) as
golden/make_golden.py makes it. Its columns:

  log-probs       of three sequences, largest difference             (limbic logprobs)
  loss            of one step over targets among their tokens        (limbic train, metrics.jsonl)
  gradients       of that step, largest relative difference of a tensor (from what the step changes in the model)
  greedy          64 tokens equal, or the first that is not          (limbic generate)
  LoRA ...        the same with an adapter that peft has made
  merged          the folder of limbic merge, loaded in transformers, against base and adapter in peft
  trained         the folder of two steps of limbic train, loaded in transformers, against limbic

Exit code 1 when a difference is above 1e-4 or a token another one. SmolLM2 has gradients that float32 cannot give so
well: it is compared with transformers in float64, and may be off by twice of what transformers in float32 is, which is
the line below it.
"""

import argparse
import json
import pathlib
import sys
import tempfile
from unittest import mock

import torch
from binary import ROOT, Limbic, conversation, write_tokenizer
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, MistralConfig
from transformers.models.llama import modeling_llama

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "golden"))
import make_golden

LIMIT = 1e-4
COLUMNS = ("log-probs", "loss", "gradients", "greedy", "LoRA log-probs", "LoRA loss", "LoRA gradients", "merged",
           "trained")
TALKS = (
    [{"role": "user", "content": "I lost my keys again and I could scream."},
     {"role": "assistant", "content": "That is annoying. Where did you see them last?"}],
    [{"role": "system", "content": "Name the feeling with one word."},
     {"role": "user", "content": "Nobody came to my birthday."}, {"role": "assistant", "content": "Sadness."},
     {"role": "user", "content": "But my sister flew in at midnight, with cake!"},
     {"role": "assistant", "content": "Joy."}],
)


def families() -> dict:
    """By the names of the rows; make_golden looks for its options under the same ones."""
    common = make_golden.COMMON | make_golden.FULL | dict(tie_word_embeddings=False)
    found = make_golden.families(make_golden.FULL, make_golden.FULL_LENGTHS)
    plain = dict(rope_parameters=make_golden.rope("default", 5000.0))
    rows = {"llama2": LlamaConfig(**common, **plain), "llama": found.pop("llama"), "mistral": found.pop("mistral"),
            "mistral_no_window": MistralConfig(**common, **plain, sliding_window=None)}
    return rows | found


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want.double()).norm() / want.double().norm().clamp_min(1e-12))


def largest(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got.double() - want.double()).abs().max())


def gradient_difference(found: dict, golden: dict, prefix: str) -> float:
    wanted = {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}
    assert set(found) == set(wanted), (set(found) ^ set(wanted))
    return max(relative(found[name], gradient) for name, gradient in wanted.items())


def load(folder: pathlib.Path):
    """By transformers, without a tensor too many or too few."""
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                         output_loading_info=True)
    assert not any(report.values()), (folder, report)
    # torch gives a padding token's row no gradient from where it is read, also where it ends turns as in SmolLM2.
    model.get_input_embeddings().padding_idx = None
    return model.eval()


def reloaded(folder: pathlib.Path, base: pathlib.Path, data) -> torch.Tensor:
    """Log-probabilities of transformers for a folder of limbic's, whose config keeps what limbic does not know."""
    old, new = (json.loads((path / "config.json").read_text()) for path in (base, folder))
    lost = [key for key, value in old.items() if key not in ("dtype", "torch_dtype") and new.get(key, "") != value]
    assert not lost, (folder, lost)
    with torch.no_grad():
        return torch.cat(make_golden.logprobs(load(folder), data))


def compare(limbic: Limbic, folder: pathlib.Path, adapter: pathlib.Path, data, rows, prompt, golden) -> dict:
    sequences = [ids for ids, _ in data]
    out = {"log-probs": largest(limbic.logprobs(folder, sequences), golden["logprobs"])}
    loss, found = limbic.gradients(folder, rows)
    out["loss"] = abs(loss - float(golden["loss"]))
    out["gradients"] = gradient_difference(found, golden, "grad.")
    got, want = limbic.greedy(folder, prompt, len(golden["greedy"])), golden["greedy"].tolist()
    out["greedy"] = "equal" if got == want else next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), len(got))
    out["LoRA log-probs"] = largest(limbic.logprobs(folder, sequences, adapter), golden["lora.logprobs"])
    loss, found = limbic.gradients(folder, rows, adapter)
    out["LoRA loss"] = abs(loss - float(golden["lora.loss"]))
    out["LoRA gradients"] = gradient_difference(found, golden, "lora.grad.")
    merged = limbic.merge(folder, adapter)
    out["merged"] = largest(reloaded(merged, folder, data), golden["lora.logprobs"])
    trained, _ = limbic.train(folder, rows, {"steps": 2, "learning_rate": 1e-3})
    scores = limbic.logprobs(trained, sequences)
    assert largest(scores, golden["logprobs"]) > LIMIT, "nothing was trained"
    out["trained"] = largest(reloaded(trained, folder, data), scores)
    return out


def family_row(limbic: Limbic, name: str, config) -> dict:
    folder = limbic.place(name)
    make_golden.make(name, config, folder, make_golden.FULL_LENGTHS, make_golden.FULL_TOKENS)
    write_tokenizer(folder, config.vocab_size)
    golden = load_file(folder / "golden.safetensors")
    lengths = golden["lengths"].tolist()
    data = list(zip(golden["ids"].long().split(lengths), golden["mask"].split(lengths), strict=True))
    rows = [conversation(ids, mask) for ids, mask in data]
    return compare(limbic, folder, folder / "adapter", data, rows, data[1][0], golden)


def talk_tokens(words, messages: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, and a mask over the replies with their ends."""
    def ids_of(part, prompt=False):
        return words.apply_chat_template(part, add_generation_prompt=prompt, tokenize=True, return_dict=False)
    ids = ids_of(messages)
    mask = torch.zeros(len(ids), dtype=torch.bool)
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        start = len(ids_of(messages[:i], prompt=True))
        mask[start:ids.index(words.eos_token_id, start) + 1] = True
    return torch.tensor(ids), mask


class Wide:
    """torch for a module that takes norms and softmax in float32, whatever the model's type."""

    float32 = torch.float64

    def __getattr__(self, name: str):
        return getattr(torch, name)


def differences(run: dict, golden: dict, prefix: str = "") -> list[float]:
    """Of log-probabilities, loss and gradients of transformers itself."""
    grad = prefix + "grad."
    found = {key.removeprefix(grad): value.double() for key, value in run.items() if key.startswith(grad)}
    return [largest(run["logprobs"], golden[prefix + "logprobs"]), largest(run["loss"], golden[prefix + "loss"]),
            gradient_difference(found, golden, grad)]


def smol_rows(limbic: Limbic, folder: pathlib.Path) -> tuple[dict, dict]:
    """limbic's differences from transformers in float64, and those of transformers in float32."""
    torch.manual_seed(5)
    model, words = load(folder).double(), AutoTokenizer.from_pretrained(folder)
    model.generation_config.eos_token_id = None  # 64 tokens, whatever they are
    data = [talk_tokens(words, talk) for talk in TALKS]
    rows = [{"messages": talk} for talk in TALKS]
    for row, (ids, mask) in zip(limbic.rows("logprobs", folder, rows), data, strict=True):
        assert row["ids"] == ids.tolist(), "the chat template gives other tokens"
    prompt = torch.tensor(words.apply_chat_template(TALKS[0][:1], add_generation_prompt=True, return_dict=False))
    adapter = limbic.place("adapter")
    options = dict(r=8, lora_alpha=16, target_modules="all-linear")
    with mock.patch.object(modeling_llama, "torch", Wide()):
        golden = make_golden.reference(model, data, prompt, 64, adapter, options, size=0.01)
    del model
    single = load(folder)
    own = differences(make_golden.run(single, data) | make_golden.gradients(single, "grad."), golden)
    single = PeftModel.from_pretrained(load(folder), adapter, is_trainable=True).eval()
    own += differences(make_golden.run(single, data) | make_golden.gradients(single, "lora.grad."), golden, "lora.")
    with torch.no_grad():
        merged = torch.cat(make_golden.logprobs(single.merge_and_unload(), data))
    own.append(largest(merged, golden["lora.logprobs"]))
    del single
    names = ("log-probs", "loss", "gradients", "LoRA log-probs", "LoRA loss", "LoRA gradients", "merged")
    return compare(limbic, folder, adapter, data, rows, prompt, golden), dict(zip(names, own, strict=True))


def cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1e}"
    return value if value == "equal" else f"differs at {value}"


def show(name: str, row: dict, own: dict) -> int:
    """Prints a row and what float32 costs by itself, as far as that is known: the figures beyond their limits."""
    print(f"{name:18}" + "".join(f"{cell(row[column]):>15}" for column in COLUMNS), flush=True)
    if own:
        print(f"{'  transformers':18}" + "".join(f"{cell(own.get(column)):>15}" for column in COLUMNS), flush=True)
    limits = {column: max(LIMIT, 2.0 * own.get(column, 0.0)) for column in COLUMNS}
    return sum(not value <= limits[column] if isinstance(value, float) else value != "equal"
               for column, value in row.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbic", type=pathlib.Path, default=ROOT / "build/release/limbic")
    parser.add_argument("--smol", type=pathlib.Path, help="a folder of SmolLM2-135M-Instruct: one more row")
    parser.add_argument("--only", nargs="*", help="names of families")
    parser.add_argument("--threads", type=int, default=2, help="of limbic")
    options = parser.parse_args()
    jobs = {name: lambda limbic, name=name, config=config: (family_row(limbic, name, config), {})
            for name, config in families().items() if options.only is None or name in options.only}
    if options.smol:
        jobs["SmolLM2-135M"] = lambda limbic: smol_rows(limbic, options.smol)
    print(f"{'':18}" + "".join(f"{column:>15}" for column in COLUMNS))
    beyond = 0
    for name, job in jobs.items():
        with tempfile.TemporaryDirectory() as work:
            beyond += show(name, *job(Limbic(options.limbic, pathlib.Path(work), options.threads)))
    print(f"{len(jobs)} rows, {beyond} figures beyond their limits")
    return 1 if beyond > 0 or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
