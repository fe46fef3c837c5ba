"""Texts of make_golden.py: what the tiny tokenizers are trained on and what they must encode."""
import random

TRAINING = """
The old clock in the hall struck nine, and nobody in the house seemed to notice. "You're late,"
she said; "I know, and I'm sorry, but the bridge was closed and we've been waiting there for an
hour." They'll never believe it, he'd thought. It isn't the first time that the river has come up
to the road, and it won't be the last. I feel happy today, I felt sad yesterday, and tomorrow I
may feel angry, afraid or surprised. What are you feeling right now? I am listening to you. That
must have been hard for you and your family.
def area(width, height):
    if width < 0 or height < 0:
        raise ValueError("negative")
    return width * height
for i in range(10): print(i, area(i, 2 * i)); total += i * 1024 - 365
Le café était fermé, mais la forêt était très belle après la pluie; où êtes-vous allés hier soir ?
Die Straße über die Brücke führt nach München, und die Züge fahren häufig über Köln zurück.
Мы долго шли по дороге, и никто не знал, что будет дальше. Сегодня хорошая погода, и мы рады.
Ο ουρανός είναι γαλάζιος και η θάλασσα είναι ήρεμη σήμερα.
今天的天气很好,我们去公园散步吧。你今天感觉怎么样?我很高兴。
きょうはとてもいい天気です。あなたは元気ですか。わたしはうれしいです。
안녕하세요, 오늘 기분이 어떠세요? 저는 아주 좋아요.
السلام عليكم، كيف حالك اليوم؟ أنا سعيد جدا.
आज मौसम बहुत अच्छा है और मैं खुश हूँ।
😀 😀 ❤️ 👍 12 345 2024 3.14 100% $5 #1 @home a_b c-d e/f (g) [h] {i} <j> && || == != -> ...
""".strip().split("\n")


def long_runs():
    return ["a" * 300, "ab" * 160, " " * 130 + "x", "\n" * 60 + " y", "1234567890" * 13, "=" * 90,
            "é" * 70, "日" * 50, "😀" * 30, "ha" * 25 + "!" * 40 + "\t" * 20, "e\u0301" * 45]


def plain():
    return [
        "", " ", "a", "\n", "\t", "0", "\u00e9", "\U0001f600", "The old clock struck nine.",
        "  two leading, two trailing  ", "one  two   three    four", "tab\tand\t\ttabs\t",
        "line\nline\n\nline\n \n  \n", "crlf\r\ncrlf\r\n\r\n \r\n", "\r", "\r\r\n\n\r",
        " \n", "\n ", "x \n y", "x\u00a0y\u2003z\u3000w \u00a0 \u2028\u2029",
        "\u180ex\u200by\ufeffz",
        "\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00ad", "\x00a\x01b\x7f",
        "I'm you're he's we've they'll she'd don't o'clock 'tis ''s '", "I'M YOU'RE IT'S 'LL'D 'Ve",
        "it\u2019s they\u2019re", "'\u017f 's 'S \u212a's", "'sa 'ta 'rea 'vea 'ma 'lla 'da",
        "1 12 123 1234 12345 3.14159 1,000,000 0x1F 1e-9",
        "\u0663\u0662\u0661 \u0967\u0968 \u2160\u2161 \u00bd\u00b2\u00b9 \u3007\u4e94 \u2460",
        "a1b22c333d4444e", "2024-02-29T12:34:56Z", "x=1;y=-2",
        "50% off $3.50 #tag @me _under_ __dunder__",
        "!!! ??? ... --- (((nested))) [[[", "unclosed ( [ { \" ' << `", "don't stop!\n\nWhy?\r\n",
        "def f(x):\n\treturn {\n\t\t'k': [x, 1.5],\n\t}\n", "https://example.org/a?b=c&d=%20#e",
        "<html><body class=\"x\">&amp;</body></html>", "C:\\path\\to\\file.txt", "\\n is not \n",
        "camelCaseWord snake_case_word SCREAMING kebab-case",
        "caf\u00e9 cafe\u0301 \u212b A\u030a \u1e9b\u0323 \ufb01",
        "\u0301lone mark", "a\u0301\u0323 a\u0323\u0301 \u1ea5 a\u0302\u0301",
        "\uac00 \u1100\u1161 \u1100\u1161\u11a8",
        "\u0958 \u0915\u093c \u0cc6\u0cc2", "n\u0303n\u0303n\u0303 o\u0308o\u0308",
        "\u2126 \u212a \u2329 \uf900",
        "Die Stra\u00dfe \u00fcber die Br\u00fccke",
        "\u041c\u044b \u0434\u043e\u043b\u0433\u043e \u0448\u043b\u0438",
        "\u0397 \u03b8\u03ac\u03bb\u03b1\u03c3\u03c3\u03b1 \u039f\u0394\u039f\u03a3",
        "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u6211\u5f88\u9ad8\u5174\uff01",
        "\u304d\u3087\u3046\u306f\u3044\u3044\u5929"
        "\u6c17\u3067\u3059\u3002\u30ab\u30bf\u30ab\u30ca",
        "\uc548\ub155\ud558\uc138\uc694 \uc624\ub298",
        "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645\u060c \u0645\u0650",
        "\u0906\u091c \u092e\u094c\u0938\u092e \u0905\u091a\u094d\u091b\u093e \u0939\u0948",
        "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a \u05e9\u05dc\u05d5\u05dd",
        "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0 \u1004\u103a \u0d05",
        "\U00010348 \U0001d54f \U0002070e \U000e0041",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f44d\U0001f3fd\U0001f44d \u2764\ufe0f\u2764 "
        "\U0001f1e9\U0001f1ea\U0001f1eb 1\ufe0f\u20e3",
        "\u200d \ufe0f \U0001f3fd \U0001f1e9",
        "\ufffd \ufffe \ue000 \U0010ffff \u0378", "a\u2019b\u2014c\u2026d\u201ce\u201d",
        "\u202eright\u202c \u2066x\u2069",
        "mixed\u65e5\u672c\u8a9etext123\u041c\u044b \u00e9t\u00e9", "the there other The THE",
        "\u0120\u010a\u0100 bytes by name: \u0120the",
        "\u2581 \u2581the", "<0x41> <0xZZ> <unk>",
    ]


def with_tokens(tokens):
    first, second = tokens[0], tokens[1]
    texts = []
    for token in tokens:
        texts += [token, f"x{token}y", f"a {token} b", f"  {token}\n\n{token}{token}\t "]
        texts += [token[:-1], token[1:] + token, token.upper(), token.lower()]
    texts += [f"{first}user\nhello{second}\n{first}assistant\n", first[:-1] + second + first[1:],
              "".join(tokens), " ".join(reversed(tokens)), f"\u00e9{first}e\u0301{second}\u0301",
              f"1{first}2 {second}3", f"'{first}s 's{second}"]
    return list(dict.fromkeys(texts))


ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzABCXYZ", "0123456789\u0663\u00bd", " \t\n\r\u00a0\u3000",
    ".,;:!?'\"()[]{}<>|/\\-_=+*&^%$#@~`",
    "\u00e9\u00e0\u00fc\u00df\u00f1\u0131\u0130\u017f",
    "\u0300\u0301\u0323\u093c\u200d\ufe0f\u3099", "\u041c\u044b\u0436\u03a9\u03c3\u03c2",
    "\u65e5\u672c\u4eca\u5929\u304d\u30ab\uac00\u1100\u1161\u11a8",
    "\u0627\u0644\u0645\u064e\u0905\u0906\u094d",
    "\U0001f600\U0001f44d\U0001f3fd\U0001f1e9\u2764\U00010348",
]


def random_texts(count, seed, extra=()):
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 7)):
            if extra and rng.random() < 0.2:
                parts.append(rng.choice(extra))
                continue
            alphabet = rng.choice(ALPHABETS)
            parts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 6))))
        texts.append("".join(parts))
    return texts
