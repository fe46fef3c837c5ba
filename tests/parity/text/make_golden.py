#!/usr/bin/env python3
"""What the `tokenizers` package makes of random texts, as hashes: for tokenizer_parity_test.cpp.

tests/parity/reference.sh regenerate parity/text/make_golden
    trains the small tokenizers of golden/ and hashes 20,000 texts each
python make_golden.py --output FOLDER --texts 1000000 --size 8000 --corpus FILE...
    the same in another folder, larger; then
    LIMBIC_TEXT_GOLDEN=FOLDER build/release/tests/text_parity_tests

A hash covers the ids of CHUNK texts, and what is decoded from them with and without special tokens.
"""
import argparse
import array
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "unit" / "tokenizer")]
import corpus
from styles import LLAMA3, O200K, QWEN, byte_level, special, split
from random_text import random_text
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        trainers)

CHUNK = 1000
CHAT_ML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def trained(lines, size, tokens, pre_tokenizer=None, normalizer=None, decoder=None, plain=(),
            letters=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoder or decoders.ByteLevel()
    if letters is None:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=letters, max_token_length=24,
        special_tokens=[special(token) for token in tokens]))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return tokenizer


def sentence_pieces(lines, size, tokens, decoder, plain=(), **parts):
    """Characters, with bytes as a fallback; spaces are visible marks."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = trained(lines, size + 256, tokens + fallback, decoder=decoder, letters=[],
                        unk_token="<unk>", byte_fallback=True, fuse_unk=True, **parts)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = data["added_tokens"][:len(tokens)]  # bytes are in the vocabulary only
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return tokenizer


def smollm2(lines, size):
    digits = pre_tokenizers.Digits(individual_digits=True)
    return trained(lines, size, CHAT_ML, pre_tokenizers.Sequence([digits, byte_level()]))


def gpt2(lines, size):
    return trained(lines, size, CHAT_ML[:1], byte_level(add_prefix_space=True))


def llama3(lines, size):
    """`ignore_merges`, with words that no merge reaches."""
    tokenizer = trained(lines, size, CHAT_ML, split(LLAMA3), ignore_merges=True)
    data = json.loads(tokenizer.to_str())
    for word in ["\u0120nobody", "nine", "345", "\u0120\u0120\u0120\u0120\u010a", "x"]:
        data["model"]["vocab"].setdefault(word, len(data["model"]["vocab"]))
    return Tokenizer.from_str(json.dumps(data))


def qwen(lines, size):
    return trained(lines, size, CHAT_ML, split(QWEN), normalizer=normalizers.NFC(),
                   plain=["<think>", "</think>"])


def tekken(lines, size):
    return trained(lines, size, ["<s>", "[INST]", "[/INST]"], split(O200K))


def deepseek(lines, size):
    patterns = ["[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\u4e00-\u9fa5\u3040-\u309f]+"]
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    steps.append(pre_tokenizers.Digits(individual_digits=True))
    return trained(lines, size, CHAT_ML,
                   pre_tokenizers.Sequence([*steps, byte_level(use_regex=False)]))


def llama2(lines, size):
    return sentence_pieces(
        lines, size, ["<unk>", "<s>", "</s>"],
        normalizer=normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]),
        decoder=decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                   decoders.Fuse(), decoders.Strip(" ", 1, 0)]))


def gemma(lines, size):
    return sentence_pieces(
        lines, size, ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
        plain=["\n\n", "\n\n\n", "\u2581\u2581", "<b>", "</b>"],
        normalizer=normalizers.Replace(" ", "\u2581"),
        pre_tokenizer=pre_tokenizers.Split(" ", "merged_with_previous"),
        decoder=decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                   decoders.Fuse()]))


def mistral(lines, size):
    spaces = {"replacement": "\u2581", "prepend_scheme": "first", "split": False}
    return sentence_pieces(
        lines, size, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"],
        pre_tokenizer=pre_tokenizers.Metaspace(**spaces), decoder=decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)]))


def words(lines, size):
    """Whole characters only, unknown ones not fused; the older pre-tokenizers in a row."""
    return trained(
        lines, size, ["<unk>", "<mask>"], unk_token="<unk>", letters=["\u2581"],
        normalizer=normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
             normalizers.Replace(Regex(r"[\s\p{Cf}]+"), " "), normalizers.Strip()]),
        pre_tokenizer=pre_tokenizers.Sequence(
            [pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Digits(False),
             pre_tokenizers.Metaspace(prepend_scheme="always")]),
        decoder=decoders.Metaspace(prepend_scheme="always"))


def latin(lines, size):
    return trained(
        lines, size, ["[UNK]"], unk_token="[UNK]", fuse_unk=True, letters=[],
        normalizer=normalizers.NFKC(), decoder=decoders.Fuse(),
        pre_tokenizer=pre_tokenizers.Sequence(
            [pre_tokenizers.Whitespace(), pre_tokenizers.FixedLength(7),
             pre_tokenizers.CharDelimiterSplit("e"), pre_tokenizers.BertPreTokenizer()]))


def flags(lines, size):
    """Every flag of an added token, and tokens that overlap."""
    tokenizer = trained(lines, size, [], byte_level(), normalizer=normalizers.NFC())
    tokenizer.add_tokens([
        special("<Left>", lstrip=True), special("<Right>", rstrip=True),
        special("<Both>", lstrip=True, rstrip=True), special("12", single_word=True),
        AddedToken("caf\u00e9", normalized=True), AddedToken("ab", normalized=True),
        AddedToken("the", normalized=True, single_word=True),
        AddedToken("e\u0301", normalized=False, lstrip=True), AddedToken("ABC", normalized=False),
        AddedToken("AB", normalized=False), AddedToken("\U0001f600", normalized=False)])
    return tokenizer


KINDS = [smollm2, gpt2, llama3, qwen, tekken, deepseek, llama2, gemma, mistral, words, latin, flags]


class Package:
    """Answers of the `tokenizers` package."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def encode(self, texts):
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def decode(self, ids, skip_special_tokens):
        return self.tokenizer.decode_batch(ids, skip_special_tokens=skip_special_tokens)


def hashes_of(reference, texts, tokens):
    hashes = []
    for start in range(0, texts, CHUNK):
        ids = reference.encode([random_text(i, tokens)
                                for i in range(start, min(start + CHUNK, texts))])
        kept = reference.decode(ids, False)
        skipped = reference.decode(ids, True)
        digest = hashlib.sha256()
        for row, one, other in zip(ids, kept, skipped):
            digest.update(array.array("i", [*row, -1]).tobytes())
            digest.update(one.encode() + b"\0" + other.encode() + b"\0")
        hashes.append(digest.hexdigest()[:16])
    return hashes


def write_hashes(folder, reference, texts, tokens):
    (folder / "hashes.json").write_text(json.dumps(
        {"texts": texts, "chunk": CHUNK, "tokens": tokens,
         "hashes": hashes_of(reference, texts, tokens)}, indent=0) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "golden")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--corpus", type=Path, nargs="*", default=[])
    parser.add_argument("--kinds", nargs="*", default=[kind.__name__ for kind in KINDS])
    options = parser.parse_args()
    lines = corpus.TRAINING + [line for path in options.corpus
                               for line in path.read_text().splitlines()]
    for kind in KINDS:
        if kind.__name__ not in options.kinds:
            continue
        tokenizer = kind(lines, options.size)
        folder = options.output / kind.__name__
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(
            json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))
        tokens = [token.content for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
        write_hashes(folder, Package(tokenizer), options.texts, tokens)
        print(kind.__name__, tokenizer.get_vocab_size(), flush=True)


if __name__ == "__main__":
    main()
