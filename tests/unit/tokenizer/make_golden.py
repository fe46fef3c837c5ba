#!/usr/bin/env python3
"""Writes golden/: tiny tokenizers in the styles of known families, and what the `tokenizers`
package makes of the texts of corpus.py.

Run it after changing a tokenizer or a text:
tests/parity/reference.sh regenerate --write unit/tokenizer
"""
import json
import random
import shutil
from pathlib import Path

import corpus
from styles import LLAMA3, O200K, QWEN, byte_level, special, split
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

GOLDEN = Path(__file__).resolve().parent / "golden"
CHAT_ML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def trained(size, pre_tokenizer, first=(), normalizer=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus.TRAINING, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, show_progress=False,
        special_tokens=[special(token) for token in first]))
    return tokenizer


def smollm2():
    """Special tokens at the start of the vocabulary; every digit by itself."""
    tokens = CHAT_ML + ["<repo_name>"]
    tokenizer = trained(600, pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level()]), first=tokens)
    return tokenizer, tokens, {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>",
                               "pad_token": "<|im_end|>"}


def gpt2():
    """A space in front of the text; the only special token at the end; numbers stay whole."""
    tokenizer = trained(480, byte_level(add_prefix_space=True))
    tokenizer.add_tokens([special("<|endoftext|>"), special("<|pad|>")])
    return tokenizer, ["<|endoftext|>", "<|pad|>"], {"eos_token": {"content": "<|endoftext|>"},
                                                     "pad_token": "<|pad|>"}


def llama3():
    """`ignore_merges`: words of the vocabulary that no merge reaches."""
    tokenizer = trained(520, split(LLAMA3), ignore_merges=True)
    data = json.loads(tokenizer.to_str())
    for word in ["\u0120weather", "brilliantly", "\u00c3\u0142ber", "777",
                 "\u0120\u0120\u0120\u0120\u010a"]:
        data["model"]["vocab"][word] = len(data["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokens = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    tokenizer.add_tokens([special(token) for token in tokens])
    begin = tokens[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))])
    return tokenizer, tokens, {"eos_token": "<|eot_id|>", "bos_token": begin, "pad_token": None}


def qwen():
    """NFC; added tokens that are special and such that are not."""
    tokenizer = trained(560, split(QWEN), normalizer=normalizers.NFC())
    tokenizer.add_tokens([special(token) for token in CHAT_ML])
    plain = ["<think>", "</think>", "<tool_call>"]
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    return tokenizer, CHAT_ML + plain, {"eos_token": "<|im_end|>", "bos_token": None,
                                        "pad_token": "<|endoftext|>"}


def flags():
    """Every flag of an added token, and tokens that overlap."""
    tokenizer = trained(420, byte_level(), normalizer=normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase()]))
    tokenizer.add_tokens([
        special("<Left>", lstrip=True), special("<Right>", rstrip=True),
        special("<Both>", lstrip=True, rstrip=True), special("Word", single_word=True),
        AddedToken("Caf\u00e9", normalized=True), AddedToken("Ab", normalized=True),
        AddedToken("aBc", normalized=True), AddedToken("bcd", normalized=True),
        AddedToken("One", normalized=True, single_word=True),
        AddedToken("Soft", normalized=True, lstrip=True, rstrip=True),
        AddedToken("xX", normalized=False), AddedToken("xXx", normalized=False),
        AddedToken("the", normalized=False), AddedToken("  ", normalized=False)])
    tokens = ["<Left>", "<Right>", "<Both>", "Word", "Caf\u00e9", "Ab", "aBc", "bcd", "One", "Soft",
              "xX", "xXx", "the"]
    return tokenizer, tokens, {}


def llama2():
    """Characters instead of bytes, with bytes as a fallback; spaces become visible marks."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.train_from_iterator((line[:60] for line in corpus.TRAINING[:5]), trainers.BpeTrainer(
        vocab_size=420, show_progress=False,
        special_tokens=[special("<unk>"), special("<s>"), special("</s>")] +
                       [AddedToken(token, special=True) for token in fallback]))
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = data["added_tokens"][:3]  # the bytes belong to the vocabulary only
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    return tokenizer, ["<s>", "</s>", "<unk>"], {"eos_token": "</s>", "bos_token": "<s>",
                                                 "unk_token": "<unk>"}


FAMILIES = [smollm2, gpt2, llama3, qwen, flags, llama2]


def byte_offsets(text, offsets):
    """From characters to bytes."""
    place = [0]
    for character in text:
        place.append(place[-1] + len(character.encode()))
    return [place[x] for pair in offsets for x in pair]


def encoded(tokenizer, text, with_offsets):
    encoding = tokenizer.encode(text, add_special_tokens=False)
    case = {"text": text, "ids": encoding.ids}
    for key, skip in (("decoded", False), ("skipped", True)):
        decoded = tokenizer.decode(encoding.ids, skip_special_tokens=skip)
        if decoded != text:  # absent means: the text itself
            case[key] = decoded
    # A normaliser that changes the text drops places that limbic keeps.
    normalizer = tokenizer.normalizer
    if with_offsets and (not normalizer or normalizer.normalize_str(text) == text):
        case["offsets"] = byte_offsets(text, encoding.offsets)
    return case


def random_ids(tokenizer, seed):
    """Rows of tokens that no text gives: cut characters, ids that nobody has."""
    rng = random.Random(seed)
    size = tokenizer.get_vocab_size()
    for _ in range(12):
        ids = [rng.randrange(size + 3) for _ in range(rng.randint(1, 30))]
        yield {"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False),
               "skipped": tokenizer.decode(ids, skip_special_tokens=True)}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
                            for row in rows))


def write_family(make):
    tokenizer, tokens, config = make()
    folder = GOLDEN / make.__name__
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(
        json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    texts = corpus.plain() + corpus.with_tokens(tokens) + corpus.random_texts(40, 11, tokens)
    rows = [encoded(tokenizer, text, True) for text in texts]
    rows += [encoded(tokenizer, text, False) for text in corpus.long_runs()]
    rows += random_ids(tokenizer, 5)
    write_lines(folder / "golden.jsonl", rows)


PRE_TOKENIZERS = {
    "none_cut": [], "digits_together": [pre_tokenizers.Digits(individual_digits=False)],
    **{behavior: [pre_tokenizers.Split(Regex(r"[aeiou]+|\s"), behavior)]
       for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next",
                        "contiguous"]},
    **{behavior + "_inverted": [pre_tokenizers.Split(Regex(r"\w+"), behavior, invert=True)]
       for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next",
                        "contiguous"]},
    "literal": [pre_tokenizers.Split(".", "isolated")],
    "twice": [pre_tokenizers.Split(Regex(r"\n+"), "merged_with_previous"),
              pre_tokenizers.Split(Regex(r"(?<=o)(?=[a-z])|\d{2}"), "isolated")],
    "deepseek": [pre_tokenizers.Split(Regex("[\r\n]"), "isolated"),
                 pre_tokenizers.Split(Regex("\\s?\\p{L}+"), "isolated"),
                 pre_tokenizers.Split(Regex("\\s?\\p{P}+"), "isolated"),
                 pre_tokenizers.Split(Regex("[\u4e00-\u9fa5]+"), "isolated"),
                 pre_tokenizers.Digits(individual_digits=True)],
    "o200k": [pre_tokenizers.Split(Regex(O200K), "isolated")],
    "word_in_and_out_of_a_class": [pre_tokenizers.Split(Regex(r"\w+"), "isolated"),
                                   pre_tokenizers.Split(Regex(r"[\w]+"), "contiguous")],
    "metaspace": [pre_tokenizers.Metaspace()],
    "metaspace_first": [pre_tokenizers.Metaspace("_", prepend_scheme="first")],
    "metaspace_never": [pre_tokenizers.Metaspace("\u2581", prepend_scheme="never", split=False)],
    "metaspace_behind_digits": [pre_tokenizers.Digits(), pre_tokenizers.Metaspace()],
    "whitespace": [pre_tokenizers.Whitespace()],
    "whitespace_split": [pre_tokenizers.WhitespaceSplit()],
    "bert": [pre_tokenizers.BertPreTokenizer()],
    "punctuation": [pre_tokenizers.Punctuation()],
    "punctuation_removed": [pre_tokenizers.Punctuation("removed")],
    "punctuation_contiguous": [pre_tokenizers.Punctuation("contiguous")],
    "delimiter": [pre_tokenizers.CharDelimiterSplit("o")],
    "fixed_length": [pre_tokenizers.FixedLength(3)],
}
NORMALIZERS = {
    "nfd": normalizers.NFD(), "nfkc": normalizers.NFKC(), "nfkd": normalizers.NFKD(),
    "lowercase": normalizers.Lowercase(), "strip": normalizers.Strip(),
    "strip_accents": normalizers.StripAccents(),
    "strip_left": normalizers.Strip(left=True, right=False),
    "replace_text": normalizers.Replace("o", "00"),
    "replace_regex": normalizers.Replace(Regex(r"\s+"), " "),
    "prepend": normalizers.Prepend(">"),
    "sequence": normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(),
                                      normalizers.Replace(Regex("[aeiou]"), ""),
                                      normalizers.Prepend("_")]),
}
VARIANT_TEXTS = [
    "", " ", "  The old clock o'clock\n\nstruck 09:15 ... ok?  ",
    "\u00c9t\u00e9 e\u0301 \ufb01ne \u212b \u33a5 \u2460 \u00bd \uff21\u0130\u1e9e",
    "aeiou xyz aei", "x_y-z \u0663\u00b2 \u093c\u0915\u094d a\u0301b \u200d",
    "\u4eca\u5929\u5929\u6c14 HELLOworld it'S 12345 a/b\r\n/",
    "\t \u00a0\u3000x\u2028 ", "\uac01 \u1100\u1161\u11a8", "a.b..c",
    "\U0001fae8\U0001f6dc x\U00010d50\U00010d4e \U0002ebf0\U00031350 \U000116da\u0897y",
    "\u00b2x\u00bc \u166d\u2e5d \u0300\u07fd\u1cf2 a\u0345\u08ca\u0315",
    "\u03a3\u03a3 \u0393\u0399\u0391\u03a3 \u01c5 \u00df",
]


def variant_rows(base):
    """Other parts in the file of smollm2."""
    def row(name, tokenizer, part):
        document = json.loads(tokenizer.to_str())
        return {"name": name, "part": part, "value": document[part],
                "cases": [{"text": text, "ids": tokenizer.encode(text).ids}
                          for text in VARIANT_TEXTS]}
    for name, steps in PRE_TOKENIZERS.items():
        tokenizer = Tokenizer.from_str(base.to_str())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps + [byte_level(use_regex=False)])
        yield row(name, tokenizer, "pre_tokenizer")
    for name, normalizer in NORMALIZERS.items():
        tokenizer = Tokenizer.from_str(base.to_str())
        tokenizer.normalizer = normalizer
        yield row(name, tokenizer, "normalizer")


def main():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for make in FAMILIES:
        write_family(make)
    write_lines(GOLDEN / "variants.jsonl", variant_rows(smollm2()[0]))


if __name__ == "__main__":
    main()
