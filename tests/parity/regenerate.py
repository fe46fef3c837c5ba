#!/usr/bin/env python3
"""Runs the generators of golden files in a copy of the tree and compares what they write with what is checked in.

    tests/parity/reference.sh regenerate                        # every make_*.py of the tests, and two more
    tests/parity/reference.sh regenerate make_dpo unit/loss     # those whose path has one of the words
    tests/parity/reference.sh regenerate --write make_dpo       # and takes over what differs

A golden file is whatever a generator writes. It is equal when its bytes are, or when it holds the same names, shapes,
texts and whole numbers, and floating-point numbers within 1e-5: those of a tensor or a list together, relative to its
size. Then the line says how far they are. The last line counts.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("tests", "data", "configs", "launch/tools")
# Beside tests/**/make_*.py: script and arguments, from the root.
OTHERS = (("data/tokenizer/unicode/make_newer_characters.py",),
          ("launch/tools/make_tiny_tokenizer.py", "data/samples/feelings/train.jsonl", "configs/models/tiny"))
TOLERANCE = 1e-5


class Differs(Exception):
    pass


def expect(same: bool, where: str, got, want) -> None:
    if not same:
        raise Differs(f"{where or 'file'}: got {str(got)[:60]}, want {str(want)[:60]}")


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def distance_of_values(got, want, where: str = "") -> float:
    """Largest distance of floating-point numbers. Throws Differs where anything else is not the same."""
    if isinstance(want, dict):
        expect(isinstance(got, dict) and list(got) == list(want), where, got, want)
        return max((distance_of_values(got[key], want[key], f"{where}/{key}") for key in want), default=0.0)
    if isinstance(want, list):
        expect(isinstance(got, list) and len(got) == len(want), where, got, want)
        if any(isinstance(value, float) for value in want) and all(map(is_number, want)):
            expect(all(map(is_number, got)), where, got, want)
            return distance_of_tensors(torch.tensor(got, dtype=torch.float64), torch.tensor(want, dtype=torch.float64))
        return max((distance_of_values(a, b, f"{where}/{i}") for i, (a, b) in enumerate(zip(got, want))), default=0.0)
    if isinstance(want, float) and is_number(got):
        return abs(got - want) / max(1.0, abs(want))
    expect(type(got) is type(want) and got == want, where, got, want)
    return 0.0


def distance_of_tensors(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30))


def distance_of_safetensors(got: pathlib.Path, want: pathlib.Path) -> float:
    mine, theirs = load_file(got), load_file(want)
    expect(sorted(mine) == sorted(theirs), "names", sorted(mine), sorted(theirs))
    farthest = 0.0
    for name, tensor in theirs.items():
        expect(mine[name].shape == tensor.shape and mine[name].dtype == tensor.dtype, name,
               (mine[name].dtype, *mine[name].shape), (tensor.dtype, *tensor.shape))
        if tensor.is_floating_point():
            farthest = max(farthest, distance_of_tensors(mine[name], tensor))
        else:
            expect(torch.equal(mine[name], tensor), name, mine[name].tolist(), tensor.tolist())
    return farthest


def distance(got: pathlib.Path, want: pathlib.Path) -> float:
    """0 for equal bytes. Throws Differs."""
    if not want.exists():
        raise Differs("it is not checked in")
    if not got.exists():
        raise Differs("no generator writes it any more")
    if got.read_bytes() == want.read_bytes():
        return 0.0
    if want.suffix == ".safetensors":
        farthest = distance_of_safetensors(got, want)
    elif want.suffix == ".json":
        farthest = distance_of_values(json.loads(got.read_text()), json.loads(want.read_text()))
    elif want.suffix == ".jsonl":
        farthest = distance_of_values(*([json.loads(line) for line in path.read_text().splitlines()]
                                        for path in (got, want)))
    else:
        raise Differs(f"other bytes, got {got.stat().st_size}, want {want.stat().st_size}")
    if farthest == 0.0:
        raise Differs("the same values in other bytes")
    if not farthest <= TOLERANCE or math.isnan(farthest):
        raise Differs(f"numbers are {farthest:.1e} away, want at most {TOLERANCE:.0e}")
    return farthest


class Copy:
    """The tree, with every file as old as can be: what a generator writes is younger."""

    def __init__(self, place: pathlib.Path):
        self.root = place
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.files = self.settle()

    def all_files(self) -> list[pathlib.Path]:
        return sorted(path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())

    def settle(self) -> list[pathlib.Path]:
        for path in self.all_files():
            os.utime(self.root / path, (0, 0))
        return self.all_files()

    def generators(self) -> list[tuple[str, ...]]:
        found = sorted(str(path) for path in self.files if path.parts[0] == "tests" and path.match("make_*.py"))
        return [(path,) for path in found] + list(OTHERS)

    def run(self, command: tuple[str, ...]) -> list[pathlib.Path]:
        """The files that it writes, and those that it takes away. Throws Differs when it fails."""
        done = subprocess.run([sys.executable, *command], cwd=self.root, capture_output=True, text=True,
                              env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
        if done.returncode != 0:
            raise Differs("\n".join([f"exit code {done.returncode}", *done.stderr.splitlines()[-8:]]))
        written = [path for path in self.all_files() if (self.root / path).stat().st_mtime > 0]
        gone = [path for path in self.files if not (self.root / path).exists()]
        self.files = self.settle()
        if not written:
            raise Differs("it writes nothing")
        return sorted(written + gone)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of the paths of generators; none: all of them")
    parser.add_argument("--write", action="store_true", help="take over the files that differ")
    options = parser.parse_args()
    equal = differ = near = 0
    with tempfile.TemporaryDirectory() as place:
        copy = Copy(pathlib.Path(place))
        for command in copy.generators():
            if options.words and not any(word in command[0] for word in options.words):
                continue
            start = time.monotonic()
            try:
                paths = copy.run(command)
            except Differs as problem:
                print(f"{command[0]}: {problem}", flush=True)
                differ += 1
                continue
            print(f"{command[0]}: {len(paths)} files in {time.monotonic() - start:.0f} s")
            for path in paths:
                try:
                    away = distance(copy.root / path, ROOT / path)
                    print(f"    {path}: " + (f"equal within {away:.1e}" if away > 0.0 else "equal"), flush=True)
                    equal += 1
                    near += away > 0.0
                except Differs as problem:
                    print(f"    {path}: differs: {problem}", flush=True)
                    differ += 1
                    if options.write and (copy.root / path).exists():
                        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(copy.root / path, ROOT / path)
    if equal + differ == 0:
        sys.exit(f"error: got the words {options.words}, want parts of the paths of generators")
    if near > 0:
        print(f"{near} of the equal files by tolerance")
    print(f"{equal} equal, {differ} differ")
    return 1 if differ > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
