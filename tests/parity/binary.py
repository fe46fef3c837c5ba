"""limbic as table.py and adapters.py see it: a binary that reads and writes files."""

import json
import pathlib
import shutil
import subprocess
import sys

import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
# One step of AdamW with this epsilon and this rate is w - SLOPE * gradient: the root of the second moment is nothing
# beside the epsilon. The slope makes it large beside w, so that rounding takes next to nothing from it.
EPSILON = 1e9
SLOPE = 1e6

# A letter per token, and conversations whose replies are the targets.
FIRST_LETTER = 0x4E00
TEMPLATE = ("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
            "{% else %}{{ m.content }}{% endif %}{% endfor %}")


def write_tokenizer(folder: pathlib.Path, vocabulary: int) -> None:
    letters = {chr(FIRST_LETTER + i): i for i in range(vocabulary)}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": letters, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(
        {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
         "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"}, "model": model}))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}))


def conversation(ids: torch.Tensor, mask: torch.Tensor) -> dict:
    """The row of these tokens: runs of the mask are messages. The first token is no target."""
    messages = []
    for token, target in zip(ids.tolist(), mask.tolist(), strict=True):
        role = "assistant" if target else "user"
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": ""})
        messages[-1]["content"] += chr(FIRST_LETTER + token)
    return {"messages": messages}


class Limbic:
    def __init__(self, program: pathlib.Path, work: pathlib.Path, threads: int):
        if not program.exists():
            sys.exit(f"error: got no {program}, want limbic; run launch/setup.sh")
        self.program, self.work, self.threads, self.count = program, work, str(threads), 0

    def call(self, *arguments) -> str:
        command = [str(part) for part in (self.program, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    def place(self, name: str) -> pathlib.Path:
        self.count += 1
        return self.work / f"{self.count}-{name}"

    def rows(self, command: str, model: pathlib.Path, rows: list[dict], *arguments) -> list[dict]:
        given, made = self.place("in.jsonl"), self.place("out.jsonl")
        given.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.call(command, "--model", model, "--input", given, "--output", made, "--dtype", "float32",
                  "--device", "cpu", "--threads", self.threads, *arguments)
        return [json.loads(line) for line in made.read_text().splitlines()]

    def logprobs(self, model: pathlib.Path, sequences: list[torch.Tensor], adapter: pathlib.Path | None = None):
        """Of every token but the first of each sequence, one sequence behind the other."""
        rows = self.rows("logprobs", model, [{"ids": ids.tolist()} for ids in sequences],
                         *(("--adapter", adapter) if adapter else ()))
        return torch.tensor([value for row in rows for value in row["logprobs"]])

    def greedy(self, model: pathlib.Path, prompt: torch.Tensor, tokens: int) -> list[int]:
        rows = self.rows("generate", model, [{"ids": prompt.tolist()}], "--temperature", 0, "--max-new-tokens", tokens,
                         "--ignore-eos")
        return rows[0]["completions"][0]["ids"]

    def merge(self, model: pathlib.Path, adapter: pathlib.Path) -> pathlib.Path:
        merged = self.place("merged")
        self.call("merge", "--model", model, "--adapter", adapter, "--output", merged)
        return merged

    def train(self, model: pathlib.Path, rows: list[dict], stage: dict, lora: dict | None = None,
              adapter: pathlib.Path | None = None) -> tuple[pathlib.Path, list[dict]]:
        """Fine-tunes on the CPU in float32, all rows in every step: the stage's folder, the lines of metrics.jsonl."""
        run, data, config = self.place("run"), self.place("rows.jsonl"), self.place("train.yaml")
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = {"run": {"name": "parity", "output": str(run), "dtype": "float32", "device": "cpu",
                            "threads": int(self.threads)},
                    "model": {"path": str(model), "adapter": str(adapter or "")},
                    "datasets": {"rows": {"path": str(data)}},
                    "stages": [{"name": "sft", "type": "sft", "data": "rows", "save_steps": 0, "logging_steps": 1,
                                "per_device_train_batch_size": len(rows), "lr_scheduler_type": "constant"} | stage]}
        if lora is not None:
            settings["lora"] = lora
        config.write_text(json.dumps(settings))  # JSON is YAML
        self.call("train", config)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        shutil.rmtree(run / "checkpoints")
        return run / "sft", lines

    def gradients(self, model: pathlib.Path, rows: list[dict], adapter: pathlib.Path | None = None):
        """(loss, gradients by the names of the file that is trained), from what one step changes there."""
        stage = {"steps": 1, "learning_rate": EPSILON * SLOPE, "adam_epsilon": EPSILON, "adam_beta1": 0.0,
                 "adam_beta2": 0.0, "max_grad_norm": 0.0}
        folder, metrics = self.train(model, rows, stage, {} if adapter else None, adapter)
        before, after = load_folder(adapter or model), load_folder(folder)
        found = {name: (before[name].double() - tensor.double()) / SLOPE for name, tensor in after.items()}
        shutil.rmtree(folder.parent)
        return metrics[-1]["loss"], found


def load_folder(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) if file.name != "golden.safetensors"
            for name, tensor in load_file(file).items()}
