#!/usr/bin/env python3
"""Memory of a rank for every zero_stage, in bytes per parameter of the model. Prints one table.

    tests/bench/zero_memory.py [--limbic build/release/limbic] [--ranks 1 2 4]

Full fine-tuning of 67 million random weights in float32 with few tokens. From `peak_rss_mb` of
metrics.jsonl goes what the same run takes with a model of almost no weights. Expected of W ranks:
weights 4, gradients 4 and moments 8 bytes; zero_stage 1 divides the moments by W, 2 also the
gradients, 3 also the weights; there a block and the next one are whole, and on top of all stand the
gradients of two blocks.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "configs/models/tiny"
LARGE = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16}
SMALL = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
MODEL = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
         "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
         "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbic", type=pathlib.Path, default=ROOT / "build/release/limbic")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    return parser.parse_args()


def write_experiment(folder, shape):
    folder.mkdir()
    model = folder / "model"
    model.mkdir()
    for file in TOKENIZER.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    vocabulary = json.loads((TOKENIZER / "config.json").read_text())["vocab_size"]
    (model / "config.json").write_text(json.dumps(MODEL | shape | {"vocab_size": vocabulary}))
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": f"{i} some words to learn"}) + "\n" for i in range(64)))
    config = {
        "run": {"name": "memory", "seed": 1, "dtype": "float32"}, "model": {"path": str(model), "init": "random"},
        "datasets": {"d": {"path": str(folder / "rows.jsonl")}},
        "stages": [{"name": "s", "type": "sft", "data": "d", "steps": 4, "per_device_train_batch_size": 1,
                    "gradient_accumulation_steps": 1, "max_length": 64, "save_steps": 0, "logging_steps": 1}]}
    (folder / "run.yaml").write_text(json.dumps(config))
    return folder / "run.yaml"


def measure(given, config, ranks, stage):
    output = config.parent / f"run-{ranks}-{stage}"
    command = [] if ranks == 1 else ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", ranks]
    command += [given.limbic, "train", config, f"run.output={output}", f"parallel.zero_stage={stage}"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"error: {ranks} ranks, zero_stage {stage}: got exit code {done.returncode}: {done.stderr[-2000:]}")
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return max(line["peak_rss_mb"] for line in lines if "peak_rss_mb" in line) * 2**20


def parameters_of(shape, vocabulary):
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    return vocabulary * hidden + shape["num_hidden_layers"] * layer + hidden


def main():
    given = options()
    vocabulary = json.loads((TOKENIZER / "config.json").read_text())["vocab_size"]
    parameters = parameters_of(LARGE, vocabulary) - parameters_of(SMALL, vocabulary)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        large, small = (write_experiment(folder / label, shape) for label, shape in (("large", LARGE), ("small", SMALL)))
        print(f"{parameters / 1e6:.1f} M parameters; bytes of each on a rank")
        print(f"{'ranks':>6} {'zero_stage':>11} {'measured':>9} {'expected':>9}")
        for ranks in given.ranks:
            base = measure(given, small, ranks, 0)
            for stage in range(4):
                got = measure(given, large, ranks, stage)
                shares = [ranks if stage >= least else 1 for least in (3, 2, 1)]
                expected = sum(size / share for size, share in zip((4, 4, 8), shares, strict=True))
                print(f"{ranks:>6} {stage:>11} {(got - base) / parameters:>9.1f} {expected:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
