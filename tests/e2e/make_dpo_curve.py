"""Writes dpo_curve.json: 20 steps of TRL's DPOTrainer on the tests' tiny model, for two losses.

    tests/parity/reference.sh regenerate dpo_curve

The model is that of tests/support/model_folder.cpp: the same generator of random numbers, the same order of tensors.
The chat template ends a turn with its end token, so that both sides score the same tokens.
"""

import json
import pathlib
import tempfile

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

HERE = pathlib.Path(__file__).parent
TOKENIZER = HERE.parent / "unit/template/golden/model/tokenizer.json"
TEMPLATE = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
HIDDEN, INNER, HEADS, KEY_HEADS, HEAD, LAYERS = 32, 64, 4, 2, 8, 2
STEPS, BATCH, RATE, BETA = 20, 4, 2e-3, 0.2
WORDS = ("red", "green", "blue", "black", "white", "grey")


class Random64:
    """The 64-bit Mersenne Twister of C++'s std::mt19937_64."""

    def __init__(self, seed: int):
        self.state = [seed]
        for i in range(1, 312):
            last = self.state[-1]
            self.state.append((6364136223846793005 * (last ^ (last >> 62)) + i) & (2**64 - 1))
        self.at = 312

    def __call__(self) -> int:
        if self.at == 312:
            for i in range(312):
                joined = (self.state[i] & ~0x7FFFFFFF) | (self.state[(i + 1) % 312] & 0x7FFFFFFF)
                twist = 0xB5026F5AA96619E9 if joined & 1 else 0
                self.state[i] = self.state[(i + 156) % 312] ^ (joined >> 1) ^ twist
            self.at = 0
        x = self.state[self.at]
        self.at += 1
        x ^= (x >> 29) & 0x5555555555555555
        x ^= (x << 17) & 0x71D67FFFEDA60000
        x ^= (x << 37) & 0xFFF7EEE000000000
        return x ^ (x >> 43)


def write_model(folder: pathlib.Path) -> None:
    tokenizer = json.loads(TOKENIZER.read_text())
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = max(*tokenizer["model"]["vocab"].values(), *ids.values()) + 1
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
              "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
              "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": HEAD,
              "vocab_size": vocabulary, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
              "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": ids["<|im_end|>"],
              "torch_dtype": "float32"}
    random = Random64(1)
    tensors = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        values = [0.3 * ((random() >> 11) / 2**53 - 0.5) for _ in range(rows * columns)]
        tensors[name] = torch.tensor(values, dtype=torch.float64).float().view(rows, columns)

    def norm(name: str) -> None:
        tensors[name] = torch.ones(HIDDEN)

    matrix("model.embed_tokens.weight", vocabulary, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        norm(prefix + "input_layernorm.weight")
        matrix(prefix + "self_attn.q_proj.weight", HEADS * HEAD, HIDDEN)
        matrix(prefix + "self_attn.k_proj.weight", KEY_HEADS * HEAD, HIDDEN)
        matrix(prefix + "self_attn.v_proj.weight", KEY_HEADS * HEAD, HIDDEN)
        matrix(prefix + "self_attn.o_proj.weight", HIDDEN, HEADS * HEAD)
        norm(prefix + "post_attention_layernorm.weight")
        matrix(prefix + "mlp.gate_proj.weight", INNER, HIDDEN)
        matrix(prefix + "mlp.up_proj.weight", INNER, HIDDEN)
        matrix(prefix + "mlp.down_proj.weight", HIDDEN, INNER)
    norm("model.norm.weight")
    matrix("lm_head.weight", vocabulary, HIDDEN)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(TOKENIZER.read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>",
         "chat_template": TEMPLATE}))
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})


def make_rows() -> list[dict]:
    def reply(first: int, words: int) -> list[dict]:
        return [{"role": "assistant", "content": " ".join(WORDS[(first + k) % len(WORDS)] for k in range(words))}]
    rows = []
    for i in range(24):
        prompt = [{"role": "user", "content": f"colour {i}?"}]
        if i % 3 == 0:  # an answer that belongs to the prompt is not compared
            prompt = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes"}] + prompt
        rows.append({"prompt": prompt, "chosen": reply(i, 1 + i % 3), "rejected": reply(i + 3, 1 + (i + 1) % 4)})
    return rows


def curve(model_folder: pathlib.Path, rows: list[dict], loss_type: str) -> dict:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="eager")
    words = AutoTokenizer.from_pretrained(model_folder)
    history = []

    class Keep(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in logs:
                history.append(logs)

    # Warnings about sizes of progress bars apart, nothing of the trainer is changed; logs are rounded there, so the
    # loss is taken from the step itself.
    class Trainer(DPOTrainer):
        losses: list[float] = []

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            self.losses.append(loss.item())
            return loss

    Trainer.losses = []
    config = DPOConfig(
        output_dir=str(model_folder.parent / "trainer"), max_steps=STEPS, per_device_train_batch_size=BATCH,
        learning_rate=RATE, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0, beta=BETA,
        loss_type=[loss_type], max_length=128, bf16=False, fp16=False, gradient_checkpointing=False, logging_steps=1,
        report_to=[], save_strategy="no", use_cpu=True, train_sampling_strategy="sequential", disable_tqdm=True)
    trainer = Trainer(model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=words,
                      callbacks=[Keep()])
    trainer.train()
    assert len(history) == STEPS == len(Trainer.losses)
    names = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen",
             "logps/rejected", "entropy", "mean_token_accuracy")
    return {"loss": Trainer.losses} | {name: [float(step[name]) for step in history] for name in names}


def main() -> None:
    rows = make_rows()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        write_model(folder)
        golden = {"steps": STEPS, "batch": BATCH, "rate": RATE, "beta": BETA, "template": TEMPLATE, "rows": rows,
                  "curves": {kind: curve(folder, rows, kind) for kind in ("sigmoid", "ipo")}}
    (HERE / "dpo_curve.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
