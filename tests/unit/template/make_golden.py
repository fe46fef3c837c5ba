#!/usr/bin/env python3
"""Writes golden/*.json: what jinja2 makes of our templates, in transformers' environment.

Reads golden/expressions.txt (one a line) and golden/templates. Run it after changing a template or
a case: tests/parity/reference.sh regenerate --write unit/template
"""
import datetime
import functools
import json
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.sandbox

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"


class GenerationTag(jinja2.ext.Extension):
    """{% generation %} blocks, whose spans the test expects in bytes."""

    tags = {"generation"}

    def __init__(self, environment):
        super().__init__(environment)
        environment.extend(blocks=None, spans=None)

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_generation")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _generation(self, caller):
        text = caller()
        start = len("".join(self.environment.blocks).encode())
        self.environment.spans.append([start, start + len(text.encode())])
        return text


def environment():
    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[GenerationTag, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return env


ENV = environment()


@functools.lru_cache(maxsize=None)
def compiled(source):
    return ENV.from_string(source)


def render(source, variables):
    ENV.blocks, ENV.spans = [], []
    for part in compiled(source).generate(**json.loads(json.dumps(variables))):
        ENV.blocks.append(part)
    return "".join(ENV.blocks), ENV.spans


# ---- small cases: sources over VARIABLES -------------------------------------------------------

VARIABLES = {
    "t": True, "f": False, "n": None, "i": 7, "x": -2.5, "s": "Hello World", "e": "",
    "u": "Grüße 😀!", "q": "it's \"so\"", "nl": " a\n b\t\u00a0", "html": "<a href='x'>&</a>",
    "l": [3, 1, 2], "words": ["b", "A", "c"], "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}],
    "d": {"b": 1, "a": "x", "items": [1, 2], "C": None}, "el": [], "ed": {},
    "people": [{"name": "Ann", "age": 3, "in": {"x": 1}}, {"name": "bob", "age": 1},
               {"name": "Cy", "age": 2, "in": {"x": 2}}],
    "floats": [0.1, 1e16, 1e15, 1.5e-5, 0.0001, 100.0, 1e22, 123456789.125, -0.0, 3.0],
    "control": "a\u0001b\u007f\u0085\u2028\u00ad\u200bé\U0001f600\\",
}

# Statements and white space. `\n` stands for itself.
TEMPLATES = [
    "{{ 'a\\\nb' }}{{ 'a\nb' }}",
    "a\n{% if t %}\nb\n{% endif %}\nc\n",
    "a\n  {% if t %}\n  b\n  {% endif %}\n  c",
    "a {% if t %} b {% endif %} c",
    "a\n  {%- if t -%}  \n b \n {%- endif -%} \n c",
    "a\n  {%+ if t +%}\nb{% endif +%}\nc",
    "  {{ s }}\n\n  {{- s -}}  \n x {{- s }}",
    "a\n  {# note #}\n  b {# x -#}  \n c {#- y #}\nd",
    "{# c #}\n{# d +#}\n  x",
    "\n\n{% set a = 1 %}\n\n{{ a }}\n\n",
    "x{% set a = 1 %}\n y",
    "   {% if t %}x{% endif %}   ",
    "\t{%- if t %}x{% endif -%}\n\n\n end",
    "a\r\nb\r{{ 1 }}\r\n",
    "{{ '{{' }}{{ \"%}\" }}{% if '%}' %}k{% endif %}{{ {'a': {'b': 1}}['a']['b'] }}{{ {} }}",
    "{% raw %}{{ x }} {% if %}\n{% endraw %}\nz",
    "  {%- raw -%}  {{ x }}  {%- endraw -%}  y",
    "{ {% if t %} % } {% endif %} }} %} #}",
    "{% for i in l %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for i in l %}\n{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.length }}"
    "{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.previtem }}"
    "{{ loop.nextitem }}\n{% endfor %}",
    "{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for i in el %}x{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}{% for c in u %}[{{ c }}]{% endfor %}"
    "{% for x in missing %}{% endfor %}",
    "{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}"
    "{% for (a, b) in [[1, 2]] %}{{ a }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}:{{ i }} {% else %}z{% endfor %}",
    "{% for i in l if i > 9 %}{{ i }}{% else %}z{% endfor %}",
    "{% for p in people if p.in is defined %}{{ p.name }}{{ loop.last }}{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}"
    "{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in l %}{% for j in l %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} "
    "{% endfor %}{{ loop.index }}|{% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}",
    "{% set a = 1 %}{% for i in l %}{{ a }}{% set a = i %}{{ a }}{% endfor %}{{ a }}",
    "{% for i in l %}{{ a is defined }}{% set a = i %}{% endfor %}{{ a is defined }}",
    "{% if t %}{% set a = 5 %}{% endif %}{{ a }}{% if f %}{% set b = 5 %}{% endif %}{{ b }}",
    "{% set ns = namespace(x=0, y=[]) %}{% for i in l %}{% set ns.x = ns.x + i %}"
    "{% set ns.y = ns.y + [i] %}{% endfor %}{{ ns.x }}{{ ns.y }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}{{ ns.b is defined }}"
    "{{ ns['a'] }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{{ 1, 2 }}"
    "{% set (p, q) = (3, 4) %}{{ p + q }}",
    "{% set x %}\n  {{ s }}\n{% endset %}[{{ x }}]{{ x is string }}",
    "{% set x | trim | upper %}\n  {{ s }} {% set y = 3 %}\n{% endset %}[{{ x }}]"
    "{{ y is defined }}",
    "{% set ns = namespace() %}{% set ns.v %}in{% endset %}{{ ns.v }}",
    "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ x }}{{ y }}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|"
    "{{ m(1, c=4) }}|{{ m(a=5) }}",
    "{% macro m(a, b) %}{{ a }}{{ b is defined }}{{ b }}{% endmacro %}{{ m() }}|"
    "{{ m(1)|length }}|{{ m(1, 2)|upper }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro show() %}{{ v }}{% endmacro %}{% set v = 1 %}{{ show() }}{% set v = 2 %}{{ show() }}",
    "{% macro o() %}{% set q = 9 %}{{ q }}{% endmacro %}{{ o() }}{{ q is string }}",
    "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined }}",
    "{%- macro m(x) -%}\n  {{- x }}\n{%- endmacro -%}\n\n[{{ m('a') }}]",
    "{% if f %}a{% elif missing %}b{% elif t %}c{% else %}d{% endif %}",
    "{% if l[1:] and d.a == 'x' %}ok{% endif %}{% if el %}no{% else %}yes{% endif %}"
    "{% if 0.0 or '' or {} %}no{% endif %}",
    "a{% generation %}b{{ u }}{% endgeneration %}c{% for i in l %}{% generation %}\n"
    "{{ i }}\n{% endgeneration %}\n{% endfor %}",
    "{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}",
    "{% set loop = 3 %}{{ loop }}{% for i in l %}{{ loop.index }}{% endfor %}{{ loop }}",
    "{% for s in l %}{{ s }}{% endfor %}{{ s }}",
    "{% for i in [1] %}{% if t %}{% set z = 1 %}{% endif %}{{ z }}{% endfor %}{{ z }}",
    "{% for x in l|sort|reverse %}{{ x }}{% endfor %}{% for x in (l, el)[0] %}{{ x }}"
    "{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% set g = l|map('string') %}{{ g|list }}{{ g|list }}",
    "{% if messages is not defined %}x{% endif %}{{ '' if missing is undefined else 1 }}",
    "{%if t%}a{%else%}b{%endif%}{{s}}{{-s-}} {%-if t-%} c {%-endif-%} ",
    "{{ s if t }}{{ s if f }}{{ [1 if f] }}|{{ 'a' if t ~ 'b' }}",
    "line1\n{%- for i in l %}\n  - {{ i }}\n{%- endfor %}\nend\n",
    "{% for m in people %}\n    {%- if m.age > 1 %}\n        {{- m.name + '\\n' }}\n    "
    "{%- endif %}\n{% endfor %}\n",
]

# (source, what the message must say); jinja2 must fail too.
ERRORS = [
    ("{{ missing.x }}", "'missing' is undefined"),
    ("{{ d.zz.y }}", "'dict object' has no attribute 'zz'"),
    ("\n\n{{ d['zz']['y'] }}", "'dict object' has no attribute 'zz'"),
    ("{{ n.x.y }}", "'None' has no attribute 'x'"),
    ("{{ l[9].x }}", "list object has no element 9"),
    ("{{ missing() }}", "'missing' is undefined"),
    ("{{ d.zz() }}", "'dict object' has no attribute 'zz'"),
    ("{{ s() }}", "'str' object is not callable"),
    ("{{ missing + 1 }}", "'missing' is undefined"),
    ("{{ 'a' + 1 }}", 'can only concatenate str (not "int") to str'),
    ("{{ 1 + 'a' }}", "unsupported operand type(s) for +: 'int' and 'str'"),
    ("{{ n + 'a' }}", "unsupported operand type(s) for +: 'NoneType' and 'str'"),
    ("{{ [] + 'a' }}", ""),
    ("{{ -s }}", "bad operand type for unary -: 'str'"),
    ("{{ 1 < 'a' }}", "'<' not supported between instances of 'int' and 'str'"),
    ("{{ 1 > 'a' }}", "'>' not supported between instances of 'int' and 'str'"),
    ("{{ missing < 1 }}", "'missing' is undefined"),
    ("{{ 1 in 5 }}", "argument of type 'int' is not iterable"),
    ("{{ 1 in 'a' }}", "'in <string>' requires string as left operand, not int"),
    ("{{ 1 // 0 }}", "integer division or modulo by zero"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{{ 5|length }}", "object of type 'int' has no len()"),
    ("{{ (l|map('string'))|length }}", "object of type 'generator' has no len()"),
    ("{% for x in 5 %}{% endfor %}", "'int' object is not iterable"),
    ("{% for a, b in [[1]] %}{% endfor %}", ""),
    ("{% for a, b in l %}{% endfor %}", "'int' object is not iterable"),
    ("{% set a, b = 1, 2, 3 %}", ""),
    ("{% set d.x = 1 %}", "cannot assign attribute on non-namespace object"),
    ("{{ missing|tojson }}", "Object of type Undefined is not JSON serializable"),
    ("{{ range(3)|tojson }}", "Object of type range is not JSON serializable"),
    ("{{ l.append(1) }}", "access to attribute 'append' of 'list' object is unsafe"),
    ("{{ d.update({}) }}", "access to attribute 'update' of 'dict' object is unsafe"),
    ("{{ s.__class__.x }}", "access to attribute '__class__' of 'str' object is unsafe"),
    ("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "macro 'm' takes not more than 1 argument(s)"),
    ("{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "macro 'm' takes no keyword argument 'b'"),
    ("a\n{{ raise_exception('no ' ~ s) }}", "no Hello World"),
    ("{{ s.index('zz') }}", "substring not found"),
    ("{{ s.split('') }}", "empty separator"),
    ("{{ [1, 'a']|sort }}", "'<' not supported between instances of 'str' and 'int'"),
    ("{{ range(1000000) }}", ""),
    ("{{ range('a') }}", "'str' object cannot be interpreted as an integer"),
    ("{{ {[]: 1} }}", "unhashable type: 'list'"),
    ("{{ 5|items|list }}", "Can only get item pairs from a mapping."),
    ("{{ s|nofilter }}", "no filter named 'nofilter'"),
    ("{{ s is notest }}", "no test named 'notest'"),
    ("{{ l|map('nofilter')|list }}", "no filter named 'nofilter'"),
    ("{% if t %}", ""),
    ("x\n{% for i in l %}\n{% endif %}", ""),
    ("{% endif %}", ""),
    ("{{ 1 + }}", ""),
    ("{{ s ", ""),
    ("{% if t ", ""),
    ("{{ (1 }}", ""),
    ("{{ 'abc }}", ""),
    ("{# abc", ""),
    ("{% unknown %}", "unknown"),
    ("{% break %}", ""),
    ("{{ a b }}", ""),
    ("{% set 1 = 2 %}", ""),
    ("{% set none = 2 %}", ""),
    ("{{ 1 2 }}", ""),
    ("{{ f(a=1, 2) }}", ""),
    ("{% macro m(a=1, b) %}{% endmacro %}", ""),
    ("{{ @ }}", ""),
    ("{{ ) }}", ""),
    ("{{ [1) }}", ""),
    ("{% for i in range(3) %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", ""),
]


def small_cases():
    cases = []
    lines = (GOLDEN / "expressions.txt").read_text().splitlines()
    sources = ["{{ " + line + " }}" for line in lines if line]
    for source in sources + TEMPLATES:
        text, spans = render(source, VARIABLES)
        cases.append({"source": source, "text": text, "spans": spans})
    for source, message in ERRORS:
        try:
            render(source, VARIABLES)
        except Exception:  # jinja2 leaves Python's errors as they are: TypeError, ValueError, ...
            cases.append({"source": source, "error": message})
        else:
            raise SystemExit(f"jinja2 renders {source!r}")
    return {"variables": VARIABLES, "cases": cases}


# ---- conversations over golden/templates/*.jinja -----------------------------------------------


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather of a \"city\" <now> & später",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": ["integer", "null"], "default": 1.5}},
            "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "parameters": {}}},
]
SYSTEM = {"role": "system", "content": "Be brief."}
CONVERSATIONS = {
    "question": [user("Hello  ")],
    "turn": [user("  What is 2+2? "), assistant(" It is 4.\n")],
    "system": [SYSTEM, user("Grüße 😀"), assistant("日本語")],
    "turns": [user("a"), assistant("b"), user("c"), assistant("d"), user("e"), assistant("f")],
    "alike": [user("x"), assistant("x"), user("x"), assistant("x")],
    "open": [SYSTEM, user("a"), assistant("b"), user("c")],
    "reply_first": [assistant("hello"), user("q"), assistant("z")],
    "thinking": [user("q"), assistant("<think>\nlet me\n</think>\n\nanswer"), user("r"),
                 assistant("<think>\nhm\n</think>\n\nok")],
    "reasoning": [user("q"), assistant("answer", reasoning_content="because"), user("r"),
                  assistant("ok", reasoning_content="so\n")],
    "tool": [user("weather?"), assistant("", tool_calls=[call("get_weather", {"city": "Zürich"})]),
             {"role": "tool", "content": "{\"t\": 3}"}, assistant("3 degrees")],
    "tools": [SYSTEM, user("weather?"),
              assistant("I look", tool_calls=[call("get_weather", {"city": "a", "days": None}),
                                              call("now", {})]),
              {"role": "tool", "content": "x"}, {"role": "tool", "content": "y"}, assistant("fin"),
              user("thanks"), assistant("bye")],
    "empty_reply": [user("q"), assistant("")],
    "twice_user": [user("q"), user("r")],
}
OPTIONS = [{}, {"enable_thinking": False}, {"enable_thinking": True}, {"tools": TOOLS},
           {"tools": TOOLS, "enable_thinking": False}, {"date_string": "1 Jan 2025"}]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def conversation_cases():
    cases = []
    for path in sorted((GOLDEN / "templates").glob("*.jinja")):
        source = path.read_text()
        for name, messages in CONVERSATIONS.items():
            for option, variables in enumerate(OPTIONS):
                if option and not any(key in source for key in variables):
                    continue
                for prompt in (False, True):
                    given = {**TOKENS, "tools": None, "documents": None, **variables,
                             "messages": messages, "add_generation_prompt": prompt}
                    for message in given["messages"]:
                        if "reasoning_content" in message:
                            message.setdefault("thinking", message["reasoning_content"])
                    case = {"template": path.name, "messages": name, "option": option,
                            "add_generation_prompt": prompt}
                    try:
                        case["text"], case["spans"] = render(source, given)
                    except jinja2.exceptions.TemplateError as error:
                        case["error"] = str(error)
                    cases.append(case)
    return {"variables": TOKENS, "conversations": CONVERSATIONS, "options": OPTIONS, "cases": cases}


# ---- a small tokenizer -------------------------------------------------------------------------


def byte_letters():
    """GPT-2's printable letter for every byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(others)}}


MERGES = ["a s", "s i", "as si", "s t", "assi st", "a n", "an t", "assist ant", "u s", "e r",
          "us er", "Ċ Ċ", "t h", "th i", "thi n", "thin k", "Ġ I", "b e", "o k"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
           "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "<|user|>", "<|assistant|>",
           "<|system|>", "<|end|>"]
PLAIN = ["<think>", "</think>", "<tool_call>", "</tool_call>"]


def tokenizer():
    letters = byte_letters()
    tokens = [letters[b] for b in range(256)] + [m.replace(" ", "") for m in MERGES]
    added = [{"id": len(tokens) + i, "content": text, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": text in SPECIAL}
             for i, text in enumerate(SPECIAL + PLAIN)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {token: i for i, token in enumerate(tokens)}, "merges": MERGES}}


def write(name, content):
    text = json.dumps(content, ensure_ascii=True, indent=0)
    (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
    (GOLDEN / name).write_text(text + "\n")


if __name__ == "__main__":
    write("small_cases.json", small_cases())
    write("conversations.json", conversation_cases())
    write("model/tokenizer.json", tokenizer())
    write("model/tokenizer_config.json",
          {"bos_token": {"content": "<s>", "special": True}, "eos_token": "<|im_end|>",
           "pad_token": None, "chat_template": [
               {"name": "tool_use", "template": "wrong"},
               {"name": "default", "template": "{{ bos_token }}{{ eos_token }}{{ pad_token }}"}]})
