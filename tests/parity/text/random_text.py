"""Random texts that Python and C++ (random_text.h) make alike: text number i of a list of tokens."""
import json
from pathlib import Path

MATERIAL = json.loads((Path(__file__).resolve().parent / "random_text.json").read_text())
MASK = (1 << 64) - 1


class Draws:
    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & MASK

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 33) % limit


def scalar(draws, first, last):
    """A character of [first, last]; what would be a surrogate is a letter beyond them."""
    code = first + draws.below(last - first + 1)
    return chr(code + 0x800 if 0xD800 <= code < 0xE000 else code)


def part(draws, tokens):
    kind = draws.below(16)
    if kind < 6:
        words = MATERIAL["words"]
        return words[draws.below(len(words))]
    if kind < 11:
        alphabet = MATERIAL["alphabets"][draws.below(len(MATERIAL["alphabets"]))]
        return "".join(alphabet[draws.below(len(alphabet))] for _ in range(1 + draws.below(6)))
    if kind < 12:
        return "".join(scalar(draws, 0, 0x10FFFF) for _ in range(1 + draws.below(4)))
    if kind < 14:
        first, last = MATERIAL["blocks"][draws.below(len(MATERIAL["blocks"]))]
        return "".join(scalar(draws, first, last) for _ in range(1 + draws.below(5)))
    if kind < 15 and tokens:
        return tokens[draws.below(len(tokens))]
    alphabet = MATERIAL["alphabets"][0]
    return alphabet[draws.below(len(alphabet))] * (1 + draws.below(40))


def random_text(number, tokens):
    draws = Draws(number)
    return "".join(part(draws, tokens) for _ in range(1 + draws.below(8)))
