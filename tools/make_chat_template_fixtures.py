#!/usr/bin/env python3
"""Writes what Jinja2, configured as transformers configures it, makes of chat templates: to
tests/data/text/chat_templates.json for the templates of chat_template_fixtures/families.py, and to
tests/data/text/chat_template_fuzz.json for random ones. Needs transformers and jinja2.

    make_chat_template_fixtures.py                        both files of the repository
    make_chat_template_fixtures.py --fuzz N --seed S --out FILE
                     N random templates; then run text_test with TOKAMAK_TEMPLATE_CASES=FILE
    make_chat_template_fixtures.py --templates A.jinja B.jinja … --out FILE
                     templates of files, over the conversations of the repository's fixtures"""
import argparse
import copy
import json
import pathlib
import re
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import jinja2  # noqa: E402
from transformers.utils.chat_template_utils import _compile_jinja_template  # noqa: E402

from chat_template_fixtures.families import FAMILIES  # noqa: E402
from chat_template_fixtures.random_templates import VARIABLES, random_template  # noqa: E402

warnings.simplefilter("ignore", SyntaxWarning)
DATA = pathlib.Path(__file__).parent.parent / "tests/data/text"

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Current \"weather\" of a city & its <region>.\nIn °C.",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "City, e.g. Zürich"},
            "days": {"type": "integer", "default": 3, "enum": [1, 2.5, None, True]},
            "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["city"]},
        "return": {"type": "number"}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(arguments, **more):
    return {"id": "abc123def", "type": "function", "function": {"name": "get_weather", "arguments": arguments}, **more}


def result(content):
    return {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": content}


CONVERSATIONS = [
    [user("Hello")],
    [{"role": "system", "content": "Be brief."}, user("Hi there"), assistant("Hello!"), user("  What's 2+2?\n\n ")],
    [user("a"), assistant("<think>\nhmm\n</think>\n\nb"), user("ünïcödé 你好 😀 e\u0301\u00a0"), assistant("d\r\n\r\ne")],
    [{"role": "system", "content": ""}, user("")],
    [user([{"type": "text", "text": " part one "}, {"type": "image"}, {"type": "text", "text": "two"}])],
    [user("weather?"), assistant("", tool_calls=[call({"city": "Paris", "days": 2, "x": 1.0})]), result("{\"t\": 21.5}"), assistant("21.5")],
    [user("weather?"), assistant(None, tool_calls=[call("{\"city\": \"Paris\"}"), call("{}")]), result("sunny"), result("rain"), user("thanks")],
    [{"role": "system", "content": "sys"}, user("x"), assistant("y", reasoning_content="because\n"), user("z")],
    [user("a"), user("b")],
    [],
    [user(None)],
    [user("<|im_end|>{{ 7 * 7 }}{% raw %}"), assistant("   ")],
]


def contexts():
    out = []
    for messages in CONVERSATIONS:
        for tools in (None, TOOLS):
            out.append({"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": True,
                        "bos_token": "<s>", "eos_token": "</s>"})
        out.append({"messages": messages, "add_generation_prompt": False, "bos_token": "<s>", "eos_token": "</s>",
                    "enable_thinking": False, "documents": [{"title": "T", "text": "doc"}]})
        out.append({"messages": messages, "add_generation_prompt": True, "bos_token": "", "eos_token": "</s>",
                    "enable_thinking": False, "date_string": "1 Jan 2025", "builtin_tools": ["code_interpreter", "search"]})
    return out


def render(template, context):
    """The text, or None when Jinja2 raises."""
    try:
        return template.render(**copy.deepcopy(context))  # some filters of Jinja2 change lists
    except Exception:  # noqa: BLE001 whatever a template raises
        return None


def case(name, source, all_contexts):
    try:
        template = _compile_jinja_template(source)
    except Exception:  # noqa: BLE001
        return [name, source, [[0, None]]]
    return [name, source, [[i, render(template, c)] for i, c in enumerate(all_contexts)]]


# What only CPython prints: addresses; and integers beyond 64 bits, which Tokamak refuses.
UNPORTABLE = re.compile(r"object at 0x|at 0x[0-9a-f]+|<function|<bound|<built-in|\d{19}|<class|method |iterator object", re.I)


def folds_a_bad_slice(source):
    """Jinja2 folds constants with other rules than it runs by: a slice of a number is undefined then,
    where it is an error otherwise. Tokamak has the one rule."""
    tree = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(source)
    for node in tree.find_all(jinja2.nodes.Getitem):
        if isinstance(node.arg, jinja2.nodes.Slice):
            try:
                if not isinstance(node.node.as_const(), (str, list, tuple, range)):
                    return True
            except Exception:  # noqa: BLE001 not a constant
                pass
    return False


def fuzz(count, seed):
    cases, attempt, texts, errors = [], 0, 0, 0
    while len(cases) < count:
        attempt += 1
        source = random_template(seed * 1_000_003 + attempt)
        [entry] = [case("random %d" % attempt, source, [VARIABLES])]
        text = entry[2][0][1]
        if text is None:
            # Most random expressions fail; one failure for each two texts is enough.
            if errors * 2 >= texts:
                continue
            errors += 1
        elif UNPORTABLE.search(text) or len(text) > 2000 or folds_a_bad_slice(source):
            continue
        else:
            texts += 1
        cases.append(entry)
    return {"contexts": [VARIABLES], "cases": cases}


def write(path, data):
    rows = ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in data["cases"])
    made = ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in data["contexts"])
    pathlib.Path(path).write_text('{"contexts":[\n%s\n],"cases":[\n%s\n]}\n' % (made, rows), encoding="utf-8")
    flat = [r for c in data["cases"] for r in c[2]]
    print("%s: %d templates, %d texts, %d errors" % (path, len(data["cases"]), sum(t is not None for _, t in flat), sum(t is None for _, t in flat)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--templates", nargs="*")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.fuzz:
        return write(args.out, fuzz(args.fuzz, args.seed))
    if args.templates:
        every = contexts()
        sources = [(p, pathlib.Path(p).read_bytes().decode()) for p in args.templates]
        return write(args.out, {"contexts": every, "cases": [case(p, s, every) for p, s in sources]})
    DATA.mkdir(parents=True, exist_ok=True)
    every = contexts()
    write(DATA / "chat_templates.json", {"contexts": every, "cases": [case(n, s, every) for n, s in FAMILIES.items()]})
    write(DATA / "chat_template_fuzz.json", fuzz(1500, 2026))


if __name__ == "__main__":
    main()
