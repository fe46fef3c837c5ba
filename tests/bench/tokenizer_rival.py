#!/usr/bin/env python3
"""Times the `tokenizers` package as text_bench times limbic: python tokenizer_rival.py FOLDER FILE"""
import os
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402


def documents_of(data):
    """Cut at the first line end behind every 4096 bytes."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", min(start + 4096, len(data)))
        end = len(data) if end < 0 else end + 1
        yield data[start:end].decode()
        start = end


def main():
    folder, file = sys.argv[1:]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    with open(file, "rb") as source:
        data = source.read()
    documents = list(documents_of(data))
    begin = time.perf_counter()
    tokens = 0
    for first in range(0, len(documents), 256):
        for encoding in tokenizer.encode_batch_fast(documents[first:first + 256],
                                                    add_special_tokens=False):
            tokens += len(encoding)
    seconds = time.perf_counter() - begin
    size = len(data) / 1e6
    print(f"encode: {size:.1f} MB, {tokens} tokens, {seconds:.2f} s, {size / seconds:.1f} MB/s")


if __name__ == "__main__":
    main()
