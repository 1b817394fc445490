"""Random small templates from a grammar of the template language."""
import random

NAMES = ["s", "t", "n", "m", "f", "l", "d", "e", "msgs", "u", "z", "b", "words"]
VARIABLES = {
    "s": "Hello, Wörld", "t": "  a-b c\n", "n": 7, "m": -3, "f": 2.5, "l": [3, 1, 2], "d": {"a": 1, "b": "x", "items": 5},
    "e": [], "z": None, "b": True, "words": ["pear", "Apple", "fig", "apple", ""],
    "msgs": [{"role": "user", "content": "hi <b>", "n": 2}, {"role": "assistant", "content": None},
             {"role": "user", "content": "ok", "n": 1}],
}
STRINGS = ["''", "'a'", "'x y'", "\"it's\"", "'é\\n'", "'%s-%s'", "'<a>'", "'12'", "'1.5'", "'ABC def'", "'{}{}'", "'a,b,,c'"]
NUMBERS = ["0", "1", "2", "3", "-1", "10", "1.5", "0.1", "2.0", "1e3"]
FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "count", "first", "last", "list", "reverse|first", "reverse|list",
           "join", "join(', ')", "join('-', attribute='role')", "sort", "sort(reverse=true)", "unique|list", "string", "int",
           "float", "abs", "round", "round(1)", "round(2, 'ceil')", "round(0, 'floor')", "sum", "min", "max", "tojson",
           "tojson(indent=2)", "tojson(sort_keys=true)", "default('D')", "default('D', true)", "d(0)", "items|list", "dictsort",
           "map('upper')|list", "map(attribute='role')|list", "map('length')|list", "select|list", "reject|list",
           "select('string')|list", "selectattr('role', 'equalto', 'user')|list", "rejectattr('content')|list",
           "selectattr('n')|list", "groupby('role')|list", "batch(2)|list", "batch(2, 0)|list", "slice(2)|list", "indent",
           "indent(2, true)", "replace('a', 'b')", "replace('l', 'L', 1)", "wordcount", "e", "center(9)", "truncate(5)",
           "truncate(6, true, '')", "format(1, 2)", "map(attribute='n', default=0)|sum", "sort(attribute='role')|list",
           "select('gt', 1)|list", "map('int')|sum", "list|tojson", "urlencode",
           "min(attribute='role')", "max(case_sensitive=true)", "filesizeformat", "last|default('none')", "first|string"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable",
         "true", "false", "upper", "lower", "odd", "even", "divisibleby(2)", "divisibleby 3", "eq(1)", "in [1, 2, 'a']",
         "gt 1", "sameas none", "callable", "escaped", "ne 'a'", "not none", "not defined", "lt(5)"]
METHODS = ["upper()", "lower()", "strip()", "lstrip()", "rstrip()", "split()", "split(',')", "split('l', 1)", "rsplit('l', 1)",
           "startswith('H')", "endswith(('d', 'x'))", "replace('l', '1')", "title()", "capitalize()", "find('l')", "rfind('l')",
           "count('l')", "isdigit()", "isalpha()", "isupper()", "splitlines()", "partition(' ')", "zfill(5)", "center(11, '*')",
           "ljust(8)", "format(1, 2)", "join(words)", "swapcase()", "islower()", "isspace()", "removeprefix('He')", "index('e')",
           "keys()|list", "values()|list", "items()|list", "get('a')", "get('q', 4)", "get('q')", "index(1)", "count(1)",
           "casefold()", "strip('Hd')", "expandtabs()", "rpartition('o')", "rjust(3)", "isalnum()", "copy()", "append(1)", "pop()"]
ATTRIBUTES = [".a", ".b", ".role", ".items", "['a']", "['items']", "[0]", "[-1]", "[9]", "[1:]", "[:-1]", "[::-1]", "[::2]", "[-2:]",
              "[1:2]", ".nope", "['nope']", ".0", ".content", "[n:]", "[0].role", "[5:1:-2]"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]


class Grammar:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.locals = []

    def pick(self, items):
        return self.r.choice(items)

    def atom(self):
        k = self.r.random()
        if k < 0.5:
            return self.pick(NAMES + self.locals * 2)
        if k < 0.7:
            return self.pick(STRINGS)
        if k < 0.85:
            return self.pick(NUMBERS)
        return self.pick(["true", "none", "[1, 2, 3]", "['b', 'A', 'c']", "{'k': 1, 'j': [2]}", "(1, 'x')", "range(4)", "[[1, 2], [3]]",
                          "range(5, 0, -2)", "dict(a=1)"])

    def expr(self, depth):
        if depth <= 0:
            return self.atom()
        k = self.r.random()
        inner = lambda: self.expr(depth - 1)
        if k < 0.18:
            return self.atom()
        if k < 0.42:
            return "(%s)|%s" % (inner(), self.pick(FILTERS))
        if k < 0.50:
            return "(%s).%s" % (inner(), self.pick(METHODS))
        if k < 0.60:
            return "(%s)%s" % (inner(), self.pick(ATTRIBUTES))
        if k < 0.80:
            if self.r.random() < 0.03:
                return "(%s ** 2)" % inner()  # other powers may be complex numbers
            return "(%s %s %s)" % (inner(), self.pick(BINARY), inner())
        if k < 0.87:
            return "(%s is %s)" % (inner(), self.pick(TESTS))
        if k < 0.91:
            return "(%s if %s else %s)" % (inner(), inner(), inner())
        if k < 0.93:
            return "(%s if %s)" % (inner(), inner())
        if k < 0.96:
            return "(%s %s)" % (self.pick(["not", "-", "+"]), inner())
        return "[%s, %s]" % (inner(), inner())

    def space(self):
        return self.pick(["", "", "", " ", "\n", "\n  ", "text ", " - "])

    def tag(self, body):
        return "{%" + self.pick(["", "", "-", "+"]) + " " + body + " " + self.pick(["", "", "-"]) + "%}"

    def block(self, depth):
        return "".join(self.space() + self.statement(depth) for _ in range(self.r.randint(1, 2))) + self.space()

    def statement(self, depth):
        k = self.r.random()
        if depth <= 0 or k < 0.5:
            return "{{" + self.pick(["", "", "-"]) + " " + self.expr(2) + " " + self.pick(["", "", "-"]) + "}}"
        if k < 0.62:
            text = self.tag("if " + self.expr(2)) + self.block(depth - 1)
            if self.r.random() < 0.3:
                text += self.tag("elif " + self.expr(1)) + self.block(depth - 1)
            if self.r.random() < 0.5:
                text += self.tag("else") + self.block(depth - 1)
            return text + self.tag("endif")
        if k < 0.78:
            return self.loop(depth)
        if k < 0.86:
            name = self.pick(["v1", "v2"])
            text = self.tag("set %s = %s" % (name, self.expr(2)))
            self.locals.append(name)
            return text
        if k < 0.90:
            text = self.tag("set v3" + self.pick(["", " | upper", " | trim"])) + self.block(depth - 1) + self.tag("endset")
            self.locals.append("v3")
            return text
        if k < 0.93:
            return self.tag("filter " + self.pick(["upper", "trim", "replace('a', 'o')", "title", "indent(2)"])) + self.block(depth - 1) + self.tag("endfilter")
        if k < 0.96:
            return self.tag("with w = " + self.expr(1)) + "{{ w }}" + self.block(depth - 1) + self.tag("endwith")
        if k < 0.98:
            body = self.pick(["{{ p }}{{ q }}", "{{ p }}-{{ caller is defined }}{{ varargs }}", "{% if p %}{{ q }}{% endif %}"])
            return self.tag("macro mac(p, q=%s)" % self.expr(0)) + body + self.tag("endmacro") + "{{ mac(%s) }}{{ mac(q=%s) }}" % (self.expr(1), self.expr(0))
        return "{# note #}" + self.tag("set ns = namespace(c=0)") + "{% for i in range(3) %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}"

    def loop(self, depth):
        target, sequence = self.pick([("x", self.expr(1)), ("x", "l"), ("x", "words"), ("x", "msgs"), ("k, x", "d.items()"), ("x", "range(3)")])
        head = "for %s in %s" % (target, sequence) + (" if " + self.pick(["x", "x != 1", self.expr(1)]) if self.r.random() < 0.3 else "")
        self.locals.append("x")
        body = self.block(depth - 1) + self.pick(["", "{{ loop.index }}", "{{ loop.last }}", "{{ loop.length }}", "{{ ', ' if not loop.last }}",
                                                 "{{ loop.previtem }}|{{ loop.nextitem }}", "{{ loop.cycle('a', 'b') }}", "{% if loop.first %}{% continue %}{% endif %}.",
                                                 "{% if loop.index0 == 1 %}{% break %}{% endif %}!", "{{ loop.revindex0 }}", "{{ x }}"])
        self.locals = [v for v in self.locals if v != "x"]
        if self.r.random() < 0.2:
            body += self.tag("else") + "empty"
        return self.tag(head) + body + self.tag("endfor")


def random_template(seed):
    g = Grammar(seed)
    return "".join(g.space() + g.statement(2) for _ in range(g.r.randint(1, 3))) + g.space()
