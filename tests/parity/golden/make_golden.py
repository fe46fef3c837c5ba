"""Writes the golden folders of the decoder parity test with transformers and peft.

    tests/parity/reference.sh regenerate make_golden
    python tests/parity/golden/make_golden.py --full --output DIR    # hidden 60, vocabulary 1003, heads of 24
    LIMBIC_GOLDEN=DIR build/release/tests/parity_tests

Each family gets a random model of odd sizes, and for three sequences of different lengths, run one by one without
padding: log-probabilities, the mean cross-entropy over a mask, every gradient, greedy tokens; the same with a LoRA
adapter whose B is not zero. Between them the folders have every rope type, windows shorter than the sequences,
weights of three types, shards, tied heads that are saved, and config.json in the spelling of transformers 4 and 5.
Before a folder counts, transformers loads it again and must agree with what it was made from.
"""

import argparse
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, GemmaConfig, LlamaConfig,
                          MistralConfig, Phi3Config, Qwen2Config, Qwen3Config)

LENGTHS, FULL_LENGTHS = (7, 12, 5), (7, 61, 33)
TOKENS, FULL_TOKENS = 32, 64  # generated: more than any window
SMALL = dict(hidden_size=36, intermediate_size=44, vocab_size=131, head_dim=10, max_position_embeddings=64)
FULL = dict(hidden_size=60, intermediate_size=91, vocab_size=1003, head_dim=24, max_position_embeddings=128)
COMMON = dict(num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3, initializer_range=0.2,
              rms_norm_eps=1e-5, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def rope(kind: str, theta: float = 10000.0, **more) -> dict:
    return {"rope_type": kind, "rope_theta": theta, **more}


def phi3_rope(head_dim: int) -> dict:
    """Part of a head is rotated; sequences on both sides of 8 tokens."""
    pairs = int(head_dim * 0.67) // 2
    return rope("longrope", partial_rotary_factor=0.67, original_max_position_embeddings=8,
                short_factor=[1.0 + 0.1 * i for i in range(pairs)], long_factor=[2.0 + i for i in range(pairs)])


def families(sizes: dict, lengths: tuple[int, ...]) -> dict:
    common = COMMON | sizes
    derived = {k: v for k, v in common.items() if k != "head_dim"}
    gemma = dict(query_pre_attn_scalar=17, sliding_window=4)
    return {
        "llama": LlamaConfig(**common, tie_word_embeddings=False,
                             rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                  original_max_position_embeddings=16)),
        "mistral": MistralConfig(**common, tie_word_embeddings=False, sliding_window=5,
                                 rope_parameters=rope("default", 5000.0)),
        "qwen2": Qwen2Config(**derived, tie_word_embeddings=True, use_sliding_window=True, sliding_window=3,
                             max_window_layers=1,
                             rope_parameters=rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=16)),
        # The longest sequence alone, and what is generated, go beyond the positions of a dynamic rope.
        "qwen3": Qwen3Config(**common | dict(max_position_embeddings=sorted(lengths)[-2] + 1),
                             tie_word_embeddings=True, use_sliding_window=False, attention_bias=False,
                             rope_parameters=rope("dynamic", 1e4, factor=8.0)),
        "phi3": Phi3Config(**derived, tie_word_embeddings=False, original_max_position_embeddings=8,
                           rope_parameters=phi3_rope(common["hidden_size"] // common["num_attention_heads"])),
        "gemma": GemmaConfig(**common, rope_parameters=rope("linear", factor=3.0)),
        "gemma2": Gemma2Config(**common, **gemma, attn_logit_softcapping=1.5, final_logit_softcapping=4.0),
        "gemma3": Gemma3TextConfig(**common, **gemma, layer_types=["sliding_attention", "full_attention"],
                                   final_logit_softcapping=None,
                                   rope_parameters={"full_attention": rope("linear", 1e6, factor=8.0),
                                                    "sliding_attention": rope("default")}),
    }


TYPES = {"qwen2": torch.float32, "qwen3": torch.float16, "gemma2": torch.float16}  # the others: bfloat16
SHARDED = {"llama"}
SAVED_HEAD = {"gemma2"}  # a tied head that is in the file all the same
SPELLED_V4 = {"qwen2", "phi3", "gemma3"}
ADAPTERS = {"qwen3": dict(target_modules=r".*\.(q|k|up)_proj", use_rslora=True,
                          rank_pattern={"q_proj": 2, "1.mlp.up_proj": 4},
                          alpha_pattern={"layers.0.*": 7, "q_proj": 3}),
            "gemma": dict(target_modules=["v_proj", "layers.1.mlp.down_proj"]),
            "phi3": dict(target_modules="all-linear", modules_to_save=["lm_head"])}


def spell_v4(config: dict) -> dict:
    """config.json as transformers 4 wrote it."""
    ropes = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    layered = "full_attention" in ropes
    if layered:
        config["rope_local_base_freq"] = ropes["sliding_attention"]["rope_theta"]
        ropes = ropes["full_attention"]
        config["sliding_window_pattern"] = config.pop("layer_types").index("full_attention") + 1
    config["rope_theta"] = ropes.pop("rope_theta")
    if "partial_rotary_factor" in ropes:
        config["partial_rotary_factor"] = ropes.pop("partial_rotary_factor")
    if not layered:  # older than "rope_type"
        ropes["type"] = ropes.pop("rope_type")
    config["rope_scaling"] = ropes
    return config


def save(name: str, model, folder: pathlib.Path) -> None:
    kind = TYPES.get(name, torch.bfloat16)
    state = {key: value.to(kind).contiguous() for key, value in model.state_dict().items()}
    if model.config.tie_word_embeddings and name not in SAVED_HEAD:
        del state["lm_head.weight"]
    folder.mkdir(parents=True)
    if name in SHARDED:
        names = sorted(state)
        files = [f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
        for i, file in enumerate(files):
            save_file({key: state[key] for key in names[i::2]}, folder / file, {"format": "pt"})
        index = {"metadata": {"total_size": sum(v.nbytes for v in state.values())},
                 "weight_map": {key: files[i % 2] for i, key in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    else:
        save_file(state, folder / "model.safetensors", {"format": "pt"})
    config = model.config.to_dict() | {"dtype": str(kind).removeprefix("torch."),
                                       "architectures": [type(model).__name__]}
    config = json.loads(json.dumps({k: v for k, v in config.items() if not k.startswith("_")}))
    if name in SPELLED_V4:
        config = spell_v4(config)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def sequences(vocab: int, lengths: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Token ids and a loss mask whose first entry is 0."""
    out = []
    for length in lengths:
        ids = torch.randint(0, vocab, (length,))
        mask = torch.rand(length) < 0.7
        mask[0] = False
        mask[1] = True
        out.append((ids, mask))
    return out


def logprobs(model, data) -> list[torch.Tensor]:
    """Of every token but the first, sequence by sequence."""
    out = []
    for ids, _ in data:
        logits = model(input_ids=ids.unsqueeze(0)).logits[0]
        out.append(torch.log_softmax(logits[:-1], -1).gather(1, ids[1:, None])[:, 0])
    return out


def run(model, data) -> dict[str, torch.Tensor]:
    model.zero_grad()
    targets = sum(int(mask.sum()) for _, mask in data)
    chosen, loss = logprobs(model, data), 0.0
    for values, (_, mask) in zip(chosen, data, strict=True):
        loss = loss - (values * mask[1:]).sum() / targets
    loss.backward()
    return {"logprobs": torch.cat(chosen).detach(), "loss": loss.detach().reshape(1)}


def gradients(model, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name.replace(".default", "").replace(".modules_to_save", ""): p.grad.clone()
            for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def build(name: str, config, folder: pathlib.Path):
    """A random model, saved in the folder."""
    torch.manual_seed(sum(map(ord, name)))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    for parameter in model.parameters():  # norms and biases that are not all ones and zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
        parameter.data = parameter.data.to(TYPES.get(name, torch.bfloat16)).float()
    model.tie_weights()
    model.eval()
    save(name, model, folder)
    return model


def adapt(model, options: dict, size: float = 0.1):
    """A LoRA model whose adapter changes something."""
    lora = get_peft_model(model, LoraConfig(lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", **options))
    for key, parameter in lora.named_parameters():
        if "lora_B" in key or "modules_to_save" in key:
            parameter.data += size * torch.randn_like(parameter)
    return lora.to(model.dtype).eval()


def save_adapter(lora, folder: pathlib.Path) -> None:
    lora.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    for key in ("target_modules", "modules_to_save"):  # sets: their order is another one in every process
        if isinstance(config[key], list):
            config[key].sort()
    path.write_text(json.dumps(config, indent=2) + "\n")


def reference(model, data, prompt: torch.Tensor, tokens: int, adapter: pathlib.Path, options: dict,
              size: float = 0.1) -> dict[str, torch.Tensor]:
    """All that is compared. Leaves the adapter in its folder and on the model."""
    golden = run(model, data) | gradients(model, "grad.")
    greedy = model.generate(prompt.unsqueeze(0), max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    golden["greedy"] = greedy[0, len(prompt):].int()
    lora = adapt(model, options, size)
    golden |= {"lora." + k: v for k, v in run(lora, data).items()} | gradients(lora, "lora.grad.")
    save_adapter(lora, adapter)
    return golden


def make(name: str, config, folder: pathlib.Path, lengths: tuple[int, ...], tokens: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model = build(name, config, folder)
    data = sequences(config.vocab_size, lengths)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert (run(again, data)["logprobs"] - run(model, data)["logprobs"]).abs().max() < 1e-6, name
    golden = {"ids": torch.cat([ids for ids, _ in data]).int(), "mask": torch.cat([m for _, m in data]).to(torch.uint8),
              "lengths": torch.tensor(lengths, dtype=torch.int32)}
    options = dict(r=3, lora_alpha=5) | ADAPTERS.get(name, dict(target_modules="all-linear"))
    golden |= reference(model, data, data[1][0], tokens, folder / "adapter", options)
    save_file(golden, folder / "golden.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    sizes, lengths, tokens = (FULL, FULL_LENGTHS, FULL_TOKENS) if options.full else (SMALL, LENGTHS, TOKENS)
    for family, configuration in families(sizes, lengths).items():
        if not options.only or family in options.only:
            make(family, configuration, options.output / family, lengths, tokens)


if __name__ == "__main__":
    main()
