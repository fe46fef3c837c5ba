#!/usr/bin/env python3
"""limbic against TRL, PEFT and transformers on one machine in one go: the same model folder, rows,
type, threads and hyper-parameters, first equal numbers, then speed. Prints one table.

The rival's scripts (rival_sft.py, rival_generate.py), its models and rows are in folders of yours:

    tests/bench/side_by_side.py --rival bench --python venv/bin/python \\
        --tiny bench/models/tiny-llama --smol models/SmolLM2-135M-Instruct --rows bench/data/sft.jsonl

Both sides run with glibc's allocator kept from handing memory back, and alternate: limbic, rival,
limbic. A row says what each side reached (limbic: the slower of its two runs) and how far their
numbers are apart.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TUNED = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296",
         "MALLOC_TOP_PAD_": "268435456"}
TURN = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
# TRL also trains the newline behind the end of a turn; so do these tags.
TAGGED = ("{% if message['role'] == 'assistant' %}{{'<|im_start|>assistant\n'}}{% generation %}"
          "{{message['content'] + '<|im_end|>' + '\n'}}{% endgeneration %}{% else %}" + TURN +
          "{% endif %}")
DROPPED = 3  # steps of warming up


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival", type=pathlib.Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--tiny", type=pathlib.Path, required=True)
    parser.add_argument("--smol", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=pathlib.Path, required=True)
    parser.add_argument("--limbic", default=ROOT / "build/release/limbic")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="names of rows of the table")
    return parser.parse_args()


class Bench:
    def __init__(self, given, work):
        self.given, self.work, self.runs = given, pathlib.Path(work), 0
        self.environment = os.environ | TUNED | {"OMP_NUM_THREADS": str(given.threads)}

    def rival(self, script, *arguments):
        command = [self.given.python, self.given.rival / script, *arguments, "--threads", str(self.given.threads)]
        done = subprocess.run([str(part) for part in command], env=self.environment, check=True,
                              capture_output=True, text=True)
        figures = json.loads(done.stdout.strip().splitlines()[-1])
        if figures["cpus_used_by_others"] > 0.2:
            print(f"warning: others used {figures['cpus_used_by_others']} cores meanwhile", file=sys.stderr)
        return figures

    def limbic(self, *arguments):
        done = subprocess.run([str(part) for part in (self.given.limbic, *arguments)], env=self.environment,
                              check=True, capture_output=True, text=True)
        return done.stderr

    def template(self, model):
        folder = self.given.tiny if model == "tiny" else self.given.smol
        file = folder / "chat_template.jinja"
        text = file.read_text() if file.exists() else json.loads(
            (folder / "tokenizer_config.json").read_text())["chat_template"]
        if TURN not in text:
            sys.exit(f"{folder}: got another chat template than ChatML")
        tagged = self.work / f"{model}.jinja"
        tagged.write_text(text.replace(TURN, TAGGED))
        return tagged

    def train(self, model, dtype, steps, length, batch, rank, rate, adapter, packing=True):
        """(tokens/s, losses) of limbic's own metrics."""
        self.runs += 1
        output = self.work / f"run{self.runs}"
        stage = {"name": "sft", "type": "sft", "data": "rows", "steps": steps, "per_device_train_batch_size": batch,
                 "max_length": length, "overlong": "truncate_right", "packing": packing, "shuffle": False,
                 "learning_rate": rate, "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0,
                 "save_steps": 0, "logging_steps": 1}
        config = {"run": {"name": "bench", "output": str(output), "threads": self.given.threads, "dtype": dtype},
                  "model": {"path": str(self.given.tiny if model == "tiny" else self.given.smol),
                            "chat_template": str(self.template(model))},
                  "datasets": {"rows": {"path": str(self.given.rows)}}, "stages": [stage]}
        if rank:
            config["lora"] = {"r": rank, "alpha": 2 * rank}
            config["model"]["adapter"] = str(adapter)
        file = self.work / f"run{self.runs}.yaml"
        file.write_text(json.dumps(config))
        started = time.monotonic()
        self.limbic("train", file, "--quiet")
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        tokens = [b["num_tokens"] - a["num_tokens"] for a, b in zip([{"num_tokens": 0}] + lines, lines)]
        speed = sum(tokens[DROPPED:]) / sum(line["step_time"] for line in lines[DROPPED:])
        return speed, [line["loss"] for line in lines], time.monotonic() - started

    def sft(self, model, dtype, steps, length, batch, rank, rate):
        adapter = self.work / f"adapter-{model}"
        lora = ["--lora-r", rank, "--save-adapter", adapter] if rank else []
        rival_run = lambda: self.rival(
            "rival_sft.py", "--model", self.given.tiny if model == "tiny" else self.given.smol, "--data",
            self.given.rows, "--steps", steps, "--max-length", length, "--micro-batch", batch, "--lr", rate, *lora)
        if rank and not adapter.exists():
            rival_run()  # leaves the adapter that both start from
        mine = lambda: self.train(model, dtype, steps, length, batch, rank, rate, adapter)
        first, theirs, second = mine(), rival_run(), mine()
        apart = [abs(a - b) / abs(b) for a, b in zip(first[1], theirs["loss"])]
        walls = f"wall {max(first[2], second[2]):.1f} s against {theirs['wall_s']:.1f} s"
        return (min(first[0], second[0]), theirs["tokens_per_s"],
                f"loss apart: first {apart[0]:.0e}, all {max(apart):.0e} relative; {walls}")

    def generate(self, model, batch, new_tokens, calls):
        folder = self.given.tiny if model == "tiny" else self.given.smol
        dump = self.work / "dump.json"
        rival_run = lambda: self.rival(
            "rival_generate.py", "--model", folder, "--batch", batch, "--prompt-len", 32, "--new-tokens", new_tokens,
            "--iters", calls, "--skip", "single", "continuous", "--dump", dump)
        if not dump.exists():
            rival_run()
        rows, out = self.work / "prompts.jsonl", self.work / "out.jsonl"

        def mine():
            prompts = json.loads(dump.read_text())["prompts"]
            rows.write_text("".join(json.dumps({"ids": ids}) + "\n" for ids in prompts * calls))
            said = self.limbic("generate", "--model", folder, "--input", rows, "--output", out, "--temperature", 0,
                               "--max-new-tokens", new_tokens, "--ignore-eos", "--batch", batch, "--dtype", "float32",
                               "--threads", self.given.threads)
            return float(said.split(" tokens/s")[0].split()[-1])

        first, theirs, second = mine(), rival_run(), mine()
        wanted = json.loads(dump.read_text())["tokens"]
        got = [json.loads(line)["completions"][0]["ids"] for line in out.read_text().splitlines()]
        # The rival may not draw an end token; a row is compared up to where limbic draws one.
        ends = json.loads((folder / "config.json").read_text())["eos_token_id"]
        ends = set(ends if isinstance(ends, list) else [ends])
        until = [next((i for i, token in enumerate(ids) if token in ends), len(ids)) for ids in got]
        same = sum(a[:n] == b[:n] for a, b, n in zip(got, wanted * calls, until))
        ended = sum(n < len(ids) for n, ids in zip(until, got))
        dump.unlink()
        return (min(first, second), theirs["batch_tokens_per_s"]["median"],
                f"{same} of {len(got)} rows the same tokens, {ended} up to an end token")


ROWS = {
    "sft tiny fp32": lambda b: b.sft("tiny", "float32", 200, 128, 8, 0, 1e-3),
    "sft 135M lora fp32": lambda b: b.sft("smol", "float32", 20, 256, 4, 16, 2e-4),
    "sft 135M lora bf16": lambda b: b.sft("smol", "bfloat16", 20, 256, 4, 16, 2e-4),
    "generate tiny x64": lambda b: b.generate("tiny", 64, 64, 7),
    "generate 135M x16": lambda b: b.generate("smol", 16, 32, 5),
}


def main():
    given = options()
    print(f"{'tokens/s':20} {'limbic':>8} {'rival':>8} {'ratio':>6}  numbers")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(given, work)
        for name, run in ROWS.items():
            if given.only and name not in given.only:
                continue
            mine, theirs, note = run(bench)
            print(f"{name:20} {mine:8.0f} {theirs:8.0f} {mine / theirs:6.2f}  {note}", flush=True)
    started = []
    for _ in range(10):
        begin = time.monotonic()
        subprocess.run([given.limbic, "--version"], check=True, capture_output=True)
        started.append(time.monotonic() - begin)
    print(f"limbic --version: median {statistics.median(started):.2f} s, longest {max(started):.2f} s")


if __name__ == "__main__":
    main()
