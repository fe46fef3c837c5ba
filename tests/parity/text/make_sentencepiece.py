#!/usr/bin/env python3
"""What the `sentencepiece` package makes of random texts, as hashes: for tokenizer_parity_test.cpp.

Takes the options of make_golden.py. Of tokenizers it has the decoders only.
"""
import argparse
import io
import json
import re
from pathlib import Path

import sentencepiece
from make_golden import HERE, corpus, write_hashes
from tokenizers import decoders

LLAMA = {"remove_extra_whitespaces": False, "byte_fallback": True}
KINDS = {
    "sentencepiece_llama": LLAMA,
    # Spaces are put together, unknown characters have no bytes, tokens of the user.
    "sentencepiece_plain": {"user_defined_symbols": ["<b>", "the", "ab", "\u2581I'm"]},
    "sentencepiece_gemma": {**LLAMA, "add_dummy_prefix": False,
                            "user_defined_symbols": ["\n\n", "\u2581\u2581", "<mask>"]},
}
CONFIG = {"sentencepiece_llama": {"added_tokens_decoder": {
    "{size}": {"content": "<pad>", "special": True, "lstrip": False}}}}


class Library:
    """Answers of the library, asked for every stretch between special tokens."""

    def __init__(self, model, more):
        self.model = sentencepiece.SentencePieceProcessor(model_proto=model)
        size = self.model.get_piece_size()
        self.special = {self.model.id_to_piece(i): i for i in range(size)
                        if self.model.is_control(i) or self.model.is_unknown(i)}
        self.special |= {token: size + i for i, token in enumerate(more)}
        self.names = {i: token for token, i in self.special.items()}
        spec = {"add_dummy_prefix": self.model.encode_as_pieces("a")[0] != "a"}
        steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        if spec["add_dummy_prefix"]:
            steps.append(decoders.Strip(" ", 1, 0))
        self.decoder = decoders.Sequence(steps)
        self.cut = re.compile("(" + "|".join(map(re.escape, self.special)) + ")")

    def encode(self, texts):
        return [[i for stretch in self.cut.split(text)
                 for i in ([self.special[stretch]] if stretch in self.special
                           else self.model.encode(stretch))] for text in texts]

    def decode(self, rows, skip_special_tokens):
        def spelling(i):
            return self.names[i] if i in self.names else self.model.id_to_piece(i)
        return [self.decoder.decode([spelling(i) for i in ids
                                     if not (skip_special_tokens and i in self.names)])
                for ids in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "golden")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--corpus", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    lines = corpus.TRAINING + [line for path in options.corpus
                               for line in path.read_text().splitlines()]
    for name, rules in KINDS.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, model_type="bpe",
            vocab_size=options.size + 256 * rules.get("byte_fallback", False), minloglevel=2,
            normalization_rule_name="identity", character_coverage=0.98, num_threads=1, **rules)
        folder = options.output / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.model").write_bytes(model.getvalue())
        more = []
        if name in CONFIG:
            size = options.size + 256
            config = json.dumps(CONFIG[name]).replace("{size}", str(size))
            (folder / "tokenizer_config.json").write_text(config + "\n")
            more = ["<pad>"]
        library = Library(model.getvalue(), more)
        write_hashes(folder, library, options.texts,
                     [*library.special, *rules.get("user_defined_symbols", [])])
        print(name, library.model.get_piece_size(), flush=True)


if __name__ == "__main__":
    main()
