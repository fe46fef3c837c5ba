"""Writes the golden folders of the decoder parity test with transformers and peft.

    pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2 safetensors
    python tests/parity/golden/make_golden.py

Each family gets a random model of odd sizes, and for three sequences of different lengths, run one by one without
padding: log-probabilities, the mean cross-entropy over a mask, every gradient, 32 greedy tokens; the same with a
LoRA adapter whose B is not zero.
"""

import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

HERE = pathlib.Path(__file__).parent
LENGTHS = (7, 12, 5)
COMMON = dict(hidden_size=36, intermediate_size=44, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3,
              vocab_size=131, max_position_embeddings=64, initializer_range=0.2, head_dim=10, rms_norm_eps=1e-5,
              bos_token_id=None, eos_token_id=None, pad_token_id=None)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
QWEN2 = {k: v for k, v in COMMON.items() if k != "head_dim"}
FAMILIES = {
    "llama": LlamaConfig(**COMMON, tie_word_embeddings=False, rope_parameters=LLAMA3),
    "mistral": MistralConfig(**COMMON, tie_word_embeddings=False, sliding_window=None,
                             rope_parameters={"rope_type": "default", "rope_theta": 5000.0}),
    "qwen2": Qwen2Config(**QWEN2, tie_word_embeddings=True, use_sliding_window=False,
                         rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    "qwen3": Qwen3Config(**COMMON, tie_word_embeddings=True, use_sliding_window=False, attention_bias=False,
                         rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
}


def sequences(vocab: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Token ids and a loss mask whose first entry is 0."""
    out = []
    for length in LENGTHS:
        ids = torch.randint(0, vocab, (length,))
        mask = torch.rand(length) < 0.7
        mask[0] = False
        mask[1] = True
        out.append((ids, mask))
    return out


def run(model, data) -> dict[str, torch.Tensor]:
    model.zero_grad()
    targets = sum(int(mask.sum()) for _, mask in data)
    logprobs, loss = [], 0.0
    for ids, mask in data:
        logits = model(input_ids=ids.unsqueeze(0)).logits[0]
        chosen = torch.log_softmax(logits[:-1], -1).gather(1, ids[1:, None])[:, 0]
        logprobs.append(chosen.detach())
        loss = loss - (chosen * mask[1:]).sum() / targets
    loss.backward()
    return {"logprobs": torch.cat(logprobs), "loss": loss.detach().reshape(1)}


def gradients(model, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name.replace(".default", ""): p.grad.clone()
            for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def make(name: str, config) -> None:
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(sum(map(ord, name)))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    for parameter in model.parameters():  # norms and biases that are not all ones and zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.eval()
    model.save_pretrained(folder)
    data = sequences(config.vocab_size)
    golden = {"ids": torch.cat([ids for ids, _ in data]).int(), "mask": torch.cat([m for _, m in data]).to(torch.uint8),
              "lengths": torch.tensor(LENGTHS, dtype=torch.int32)}
    golden |= run(model, data) | gradients(model, "grad.")
    prompt = data[0][0].unsqueeze(0)
    greedy = model.generate(prompt, max_new_tokens=32, do_sample=False, pad_token_id=0)
    golden["greedy"] = greedy[0, prompt.shape[1]:].int()
    lora = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                                            target_modules="all-linear"))
    for key, parameter in lora.named_parameters():
        if "lora_B" in key:
            parameter.data = 0.1 * torch.randn_like(parameter)
    lora.eval()
    golden |= {"lora." + k: v for k, v in run(lora, data).items()} | gradients(lora, "lora.grad.")
    lora.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    save_file(golden, folder / "golden.safetensors")
    config_path = folder / "config.json"
    config_path.write_text(json.dumps(json.loads(config_path.read_text()), indent=1) + "\n")


if __name__ == "__main__":
    for family, configuration in FAMILIES.items():
        make(family, configuration)
