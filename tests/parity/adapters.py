#!/usr/bin/env python3
"""Adapters that limbic or peft has trained, in the other: prints one table.

    tests/parity/reference.sh adapters

For tiny random models (llama; phi3 with its fused matrices; gemma3 with a tied head and windows) and every way of
making an adapter that limbic and peft share:

  peft to limbic    peft trains, limbic gives the log-probabilities
  and back          limbic trains that adapter on, peft gives them
  limbic to peft    limbic trains one of its own ("-": patterns are not in the experiment)
  change            the smallest change of a log-probability's maximum that any of them made

A figure is the largest difference of log-probabilities between the two. Exit code 1 when one is above 1e-4.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile

import torch
from binary import ROOT, Limbic, conversation, load_folder, write_tokenizer
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from table import LIMIT, largest, load, make_golden

FAMILIES = ("llama", "phi3", "gemma3")
STEPS, RATE = 4, 1e-2
WHOLE = ["embed_tokens", "lm_head"]


@dataclasses.dataclass
class Case:
    """The same adapter in words of peft and of limbic's experiment; none: limbic cannot begin one like it."""
    peft: dict
    limbic: dict | None


PATTERNS = dict(rank_pattern={"o_proj": 2, r".*\.1\.mlp\.down_proj": 6},
                alpha_pattern={r"layers\.0\..*": 3, "o_proj": 11})
REGEX = r".*\.(o|down|qkv)_proj"
CASES = {
    "names": Case(dict(target_modules=["o_proj", "down_proj"]), dict(target_modules=["o_proj", "down_proj"])),
    "all-linear": Case(dict(target_modules="all-linear"), dict(target_modules="all-linear")),
    "rslora": Case(dict(target_modules="all-linear", use_rslora=True), dict(use_rslora=True)),
    "regex": Case(dict(target_modules=REGEX), dict(target_modules=[REGEX])),
    "patterns": Case(dict(target_modules="all-linear", **PATTERNS), None),
    "modules": Case(dict(target_modules="all-linear", modules_to_save=WHOLE), dict(modules_to_save=WHOLE)),
    "everything": Case(dict(target_modules=REGEX, use_rslora=True, modules_to_save=WHOLE[1:], **PATTERNS), None),
}


class Family:
    def __init__(self, limbic: Limbic, name: str):
        config = make_golden.families(make_golden.FULL, make_golden.FULL_LENGTHS)[name]
        self.limbic, self.folder, self.tied = limbic, limbic.place(name), config.tie_word_embeddings
        make_golden.build(name, config, self.folder)
        write_tokenizer(self.folder, config.vocab_size)
        self.data = make_golden.sequences(config.vocab_size, make_golden.FULL_LENGTHS)
        self.rows = [conversation(ids, mask) for ids, mask in self.data]
        self.base = self.of_peft(load(self.folder))

    def of_peft(self, model) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat(make_golden.logprobs(model, self.data))

    def of_limbic(self, adapter: pathlib.Path) -> torch.Tensor:
        return self.limbic.logprobs(self.folder, [ids for ids, _ in self.data], adapter)

    def train_peft(self, options: dict) -> tuple[pathlib.Path, torch.Tensor]:
        folder = self.limbic.place("peft")
        model = get_peft_model(load(self.folder), LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **options))
        model.eval()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
        for _ in range(STEPS):
            make_golden.run(model, self.data)
            optimizer.step()
        model.save_pretrained(folder)
        return folder, self.of_peft(model)

    def train_limbic(self, lora: dict, start: pathlib.Path | None = None) -> tuple[pathlib.Path, torch.Tensor]:
        stage = {"steps": STEPS, "learning_rate": RATE}
        folder, _ = self.limbic.train(self.folder, self.rows, stage, {"r": 4, "alpha": 8} | lora, start)
        self.limbic.call("adapter", "check", "--model", self.folder, "--adapter", folder, "--target", "peft")
        return folder, self.of_limbic(folder)

    def read_peft(self, folder: pathlib.Path) -> torch.Tensor:
        model = PeftModel.from_pretrained(load(self.folder), folder).eval()
        inside, file = get_peft_model_state_dict(model), load_folder(folder)
        assert set(inside) == set(file), (folder, set(inside) ^ set(file))
        assert all(torch.equal(inside[name], tensor) for name, tensor in file.items()), folder
        return self.of_peft(model)


def row(family: Family, case: Case) -> tuple[list[float | None], float]:
    torch.manual_seed(3)
    by_peft, wanted = family.train_peft(case.peft)
    changes = [largest(wanted, family.base)]
    out: list[float | None] = [largest(family.of_limbic(by_peft), wanted)]
    starts: list[tuple[dict | None, pathlib.Path | None]] = [({}, by_peft), (case.limbic, None)]
    for lora, start in starts:
        if lora is None:
            out.append(None)
            continue
        folder, wanted = family.train_limbic(lora, start)
        out.append(largest(family.read_peft(folder), wanted))
        changes.append(largest(wanted, family.base))
    return out, min(changes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbic", type=pathlib.Path, default=ROOT / "build/release/limbic")
    parser.add_argument("--only", nargs="*", help="names of families")
    parser.add_argument("--threads", type=int, default=2, help="of limbic")
    options = parser.parse_args()
    columns = ("peft to limbic", "and back", "limbic to peft", "change")
    print(f"{'':20}" + "".join(f"{column:>16}" for column in columns))
    rows = beyond = 0
    for name in FAMILIES if options.only is None else options.only:
        with tempfile.TemporaryDirectory() as work:
            family = Family(Limbic(options.limbic, pathlib.Path(work), options.threads), name)
            for title, case in CASES.items():
                if family.tied and "modules_to_save" in case.peft:
                    continue  # limbic does not part a tied head from its embeddings
                figures, change = row(family, case)
                cells = ["-" if figure is None else f"{figure:.1e}" for figure in figures] + [f"{change:.1e}"]
                print(f"{name + ' ' + title:20}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
                rows += 1
                # Adapters that change nothing would agree, too.
                beyond += sum(figure is not None and figure > LIMIT for figure in figures) + (change < 100 * LIMIT)
    print(f"{rows} rows, {beyond} figures beyond {LIMIT:.0e}")
    return 1 if beyond > 0 or rows == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
