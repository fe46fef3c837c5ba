"""Loads what limbic writes in transformers and peft: run by hand beside make_golden.py.

    python tests/parity/golden/check_merged.py build/release/limbic [DIR]

For every golden folder, `limbic merge` folds the adapter into the base; transformers must load the result without
a missing or unexpected tensor, and give the log-probabilities that peft gives for base and adapter.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

LIMIT = 1e-4


def logprobs(model, golden) -> torch.Tensor:
    out, start = [], 0
    for length in golden["lengths"].tolist():
        ids = golden["ids"][start:start + length].long()
        start += length
        with torch.no_grad():
            logits = model(input_ids=ids.unsqueeze(0)).logits[0]
        out.append(torch.log_softmax(logits[:-1], -1).gather(1, ids[1:, None])[:, 0])
    return torch.cat(out)


def load(folder: pathlib.Path):
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                         output_loading_info=True)
    assert not any(report.values()), (folder, report)
    return model.eval()


def main(limbic: str, root: pathlib.Path) -> None:
    for folder in sorted(path.parent for path in root.glob("*/golden.safetensors")):
        golden = load_file(folder / "golden.safetensors")
        with tempfile.TemporaryDirectory() as place:
            merged = pathlib.Path(place) / "merged"
            said = subprocess.run([limbic, "merge", "--model", folder, "--adapter", folder / "adapter", "--output", merged],
                                  check=True, capture_output=True, text=True).stdout
            # Unknown keys of the config are written back.
            before, after = (json.loads((where / "config.json").read_text()) for where in (folder, merged))
            kept = {key: value for key, value in before.items() if key not in ("dtype", "torch_dtype")}
            assert all(after[key] == value for key, value in kept.items()), folder
            got = logprobs(load(merged), golden)
        adapted = PeftModel.from_pretrained(load(folder), folder / "adapter").eval()
        difference = max((got - want).abs().max().item() for want in (logprobs(adapted, golden), golden["lora.logprobs"]))
        print(f"{folder.name}: {difference:.2e}   {said.strip().split(': ')[-1]}")
        assert difference <= LIMIT, folder


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(__file__).parent)
