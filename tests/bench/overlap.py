#!/usr/bin/env python3
"""What the exchange of gradients costs over a slow link, with and without overlap. Prints one table.

    sudo tests/bench/overlap.py [--mbit 200] [--tokens 4096] [--limbic build/release/limbic]

Two hosts as network namespaces, joined by a link of so many Mbit/s in each direction; one rank with
one thread on each; full fine-tuning of a model of 20 million random weights. `exchange_time` of
metrics.jsonl is what a rank waits for gradients and weights.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "configs/models/tiny"
MODEL = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 384,
         "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 6,
         "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
         "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
DROPPED = 1  # steps of warming up


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbit", type=float, default=200)
    parser.add_argument("--tokens", type=int, default=4096, help="of a rank and step")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--limbic", type=pathlib.Path, default=ROOT / "build/release/limbic")
    return parser.parse_args()


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"error: {shlex.join(map(str, command))}: got exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


class Hosts:
    """Two namespaces with 10.9.PID.1 and .2, and a link between them."""

    def __init__(self, mbit, stack):
        tag = os.getpid() % 250
        self.names = [f"limbic{os.getpid()}{end}" for end in "ab"]
        self.addresses = [f"10.9.{tag}.{end}" for end in (1, 2)]
        self.network = f"10.9.{tag}.0/24"
        for name in self.names:
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
        links = [f"lb{tag}{end}" for end in "ab"]
        run("ip", "link", "add", links[0], "type", "veth", "peer", "name", links[1])
        for name, link, address in zip(self.names, links, self.addresses, strict=True):
            run("ip", "link", "set", link, "netns", name)
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", link)
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", link, "up")
            run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", f"{mbit}mbit",
                "burst", "256kb", "latency", "200ms")

    def agent(self, folder):
        """Starts a command on the host of an address, as ssh would."""
        path = pathlib.Path(folder) / "agent.sh"
        cases = "".join(f'{address}) exec ip netns exec {name} bash -c "$*" ;; '
                        for address, name in zip(self.addresses, self.names, strict=True))
        path.write_text(f'#!/bin/bash\nhost=$1; shift\ncase $host in {cases}esac\nexit 1\n')
        path.chmod(0o755)
        return path


def write_experiment(folder, tokens, steps):
    model = pathlib.Path(folder) / "model"
    model.mkdir()
    for file in TOKENIZER.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    vocabulary = json.loads((TOKENIZER / "config.json").read_text())["vocab_size"]
    (model / "config.json").write_text(json.dumps(MODEL | {"vocab_size": max(vocabulary, 4096)}))
    text = "all the words of a text that is long enough " * (tokens // 4)
    rows = pathlib.Path(folder) / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"{i} {text}"}) + "\n" for i in range(2)))
    config = {
        "run": {"name": "overlap", "seed": 1, "dtype": "float32"}, "model": {"path": str(model), "init": "random"},
        "datasets": {"d": {"path": str(rows)}},
        "stages": [{"name": "s", "type": "sft", "data": "d", "steps": steps, "per_device_train_batch_size": 1,
                    "gradient_accumulation_steps": 1, "max_length": tokens, "overlong": "truncate_right",
                    "learning_rate": 1e-4, "save_steps": 0, "logging_steps": 1}]}
    path = pathlib.Path(folder) / "overlap.yaml"
    path.write_text(json.dumps(config))
    return path


# mpirun runs on the first host, where its daemon on the second one can call it back.
def measure(given, hosts, agent, config, zero_stage, overlap):
    output = config.parent / f"run-{zero_stage}-{overlap}"
    run("ip", "netns", "exec", hosts.names[0], "mpirun", "--allow-run-as-root", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self",
        "--mca", "btl_tcp_if_include", hosts.network, "--mca", "oob_tcp_if_include", hosts.network,
        "--bind-to", "none", "--host", ",".join(f"{a}:1" for a in hosts.addresses), "-n", "2",
        "-x", "OMP_NUM_THREADS=1", given.limbic, "train", config, f"run.output={output}",
        f"parallel.zero_stage={zero_stage}", f"parallel.overlap={str(overlap).lower()}",
        env=os.environ | {"OMP_NUM_THREADS": "1"})
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "exchange_time" in line]
    taken = lines[DROPPED:]
    return {"losses": [line["loss"] for line in lines],
            "step": statistics.mean(line["step_time"] for line in taken),
            "exposed": statistics.mean(line["exchange_time"] for line in taken)}


def main():
    given = options()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        hosts = Hosts(given.mbit, stack)
        agent = hosts.agent(folder)
        config = write_experiment(folder, given.tokens, given.steps)
        print(f"{'zero_stage':>10} {'overlap':>8} {'step s':>8} {'exposed s':>10} {'share':>7}")
        for zero_stage in range(4):
            base = None
            for overlap in (False, True):
                got = measure(given, hosts, agent, config, zero_stage, overlap)
                base = base or got
                assert got["losses"] == base["losses"], "the overlap changed a loss"
                print(f"{zero_stage:>10} {str(overlap):>8} {got['step']:>8.2f} {got['exposed']:>10.2f} "
                      f"{got['exposed'] / base['exposed']:>7.0%}", flush=True)


if __name__ == "__main__":
    main()
