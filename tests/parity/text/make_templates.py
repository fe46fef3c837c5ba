#!/usr/bin/env python3
"""Writes golden/templates.json: what jinja2 makes, in transformers' environment, of every template
of templates.txt and of ../../unit/template/golden/templates, as hashes over options.

Run it after changing a template or a conversation:
tests/parity/reference.sh regenerate --write make_templates
`python make_templates.py TEMPLATE CONVERSATION` prints the texts instead.
"""
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNIT = HERE.parents[1] / "unit" / "template"


def unit_golden():
    spec = importlib.util.spec_from_file_location("unit_golden", UNIT / "make_golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOLDEN = unit_golden()
user, assistant, call = GOLDEN.user, GOLDEN.assistant, GOLDEN.call
SYSTEM = GOLDEN.SYSTEM


def parts(*items):
    return [{"type": "text", "text": item} if item else {"type": "image"} for item in items]


LONG = [message for i in range(5)
        for message in (user(f"question {i}: what, and why?"), assistant(f"answer {i} is {i * i}."))]
CONVERSATIONS = {
    **GOLDEN.CONVERSATIONS,
    "long": LONG,
    "long_open": [SYSTEM, *LONG, user("and now?")],
    "scripts": [user("日本語 и ελληνικά, ‏العربية‏ 😀"), assistant("e\u0301\u00e9 \u2028 \u00a0end")],
    "escapes": [user("<a href=\"x\">&amp; it's {{ x }} {% y %}</a>\\n\t"), assistant("\\ ' \" `")],
    "lines": [user("\n\n one\r\ntwo \n"), assistant("\n three\n\n\nfour\n\n")],
    "tokens": [user("<|im_end|></s>[INST]"), assistant("<|eot_id|><end_of_turn>")],
    "two_systems": [SYSTEM, user("a"), {"role": "system", "content": "now rhyme"}, assistant("b")],
    "empty_system": [{"role": "system", "content": ""}, user("a"), assistant("b")],
    "developer": [{"role": "developer", "content": "tables only"}, user("a"), assistant("b")],
    "unknown_role": [user("a"), {"role": "critic", "content": "no"}, assistant("b")],
    "pictures": [user(parts("", "what is it?", "")), assistant("a cat"), user("sure?")],
    "all_parts": [{"role": "system", "content": parts("be exact")}, user(parts("one", "two")),
                  assistant(parts("three"))],
    "videos": [user([{"type": "video", "video": "v"}, {"type": "text", "text": "long?"}]),
               assistant("no")],
    "nothing_said": [user("weather?"),
                     assistant(None, tool_calls=[call("now", {"zone": {"n": [1, 2.5, True, None]}})]),
                     {"role": "tool", "content": "12:00", "tool_call_id": "abcdefghi"}],
    "call_ids": [user("weather?"), assistant("", tool_calls=[
        {"id": "abcdefghi", **call("get_weather", {"city": "Köln", "days": 3})}]),
        {"role": "tool", "content": "rain", "tool_call_id": "abcdefghi", "name": "get_weather"},
        assistant("rain")],
    "call_texts": [user("q"), assistant("x", tool_calls=[call("now", "{\"a\": 1}")])],
    "switches": [{"role": "system", "content": "Short. /no_think"}, user("hm /think"),
                 assistant("<think>never ends")],
}
DOCUMENTS = [{"title": "birds", "text": " they fly "}, {"text": "fish swim"}]
OPTIONS = [{}, {"tools": GOLDEN.TOOLS, "enable_thinking": False},
           {"documents": DOCUMENTS, "date_string": "1 Jan 2025", "add_vision_id": True},
           {"tools": GOLDEN.TOOLS, "tools_in_user_message": False, "enable_thinking": True,
            "keep_past_thinking": True, "builtin_tools": ["code_interpreter", "now"]}]


def templates():
    found = {path.stem: path.read_text()
             for path in sorted((UNIT / "golden" / "templates").glob("*.jinja"))}
    for section in ("\n" + (HERE / "templates.txt").read_text()).split("\n<<<< ")[1:]:
        name, source = section.split("\n", 1)
        found[name] = source
    return found


def texts_of(source, messages):
    for variables in OPTIONS:
        for prompt in (False, True):
            given = {**GOLDEN.TOKENS, "tools": None, "documents": None, **variables,
                     "messages": messages, "add_generation_prompt": prompt}
            try:
                text, spans = GOLDEN.render(source, given)
                yield text + "\0" + "".join(f"{first}-{last}," for first, last in spans)
            except Exception:  # jinja2 leaves Python's errors as they are: TypeError, ...
                yield "error"


def main():
    sources = templates()
    if len(sys.argv) == 3:
        for text in texts_of(sources[sys.argv[1]], CONVERSATIONS[sys.argv[2]]):
            print(json.dumps(text, ensure_ascii=False))
        return
    cases, errors, renders = {}, 0, 0
    for name, source in sources.items():
        cases[name] = {}
        for conversation, messages in CONVERSATIONS.items():
            texts = list(texts_of(source, messages))
            errors += texts.count("error")
            renders += len(texts)
            record = "".join(text + "\0" for text in texts)
            cases[name][conversation] = hashlib.sha256(record.encode()).hexdigest()[:12]
        if len(set(cases[name].values())) < 8:
            raise SystemExit(f"{name} renders hardly any conversation")
    (HERE / "golden" / "templates.json").write_text(json.dumps(
        {"variables": GOLDEN.TOKENS, "conversations": CONVERSATIONS, "options": OPTIONS,
         "cases": cases}, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(sources)} templates x {len(CONVERSATIONS)} conversations: {renders} renders, "
          f"{errors} of them errors")


if __name__ == "__main__":
    main()
