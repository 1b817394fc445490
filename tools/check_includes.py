#!/usr/bin/env python3
"""Checks the include directions between the rooms of src/ (docs/architecture.md states them)."""
import pathlib
import re
import sys

# room: the rooms whose headers it may include, besides its own. cli and api see everything.
ALLOWED = {
    "base": set(),
    "ops": {"base"},
    "formats": {"base"},
    "text": {"base", "formats"},
    "graph": {"base", "ops"},
    "nn": {"base", "ops", "graph"},
    "models": {"base", "ops", "graph", "nn", "formats"},
    "convert": {"base", "formats", "models", "quant"},
    "quant": {"base", "formats", "ops", "graph"},
    "engine": {"base", "ops"},
    "backend": {"base", "ops"},
    "compile": {"base", "ops", "formats", "graph", "models", "engine", "backend"},
    "guide": {"base"},
    "runtime": {"base", "ops", "engine", "backend", "guide"},
    "serve": {"base", "text", "runtime", "api"},
    "grpc": {"base", "serve"},
}
SEES_ALL = {"api", "cli", "main.cc"}
# Backends never include each other.
APART = [("backend/cpu", "backend/cuda")]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def violations(root: pathlib.Path):
    src = root / "src"
    for file in sorted(src.rglob("*")):
        if file.suffix not in {".h", ".cc", ".cu", ".cuh"}:
            continue
        path = file.relative_to(src).as_posix()
        room = path.split("/")[0]
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            where = f"src/{path}:{number}"
            if not (src / target).is_file() and not (root / "include" / target).is_file():
                yield f"{where}: '{target}' is not found from src/ or include/"
                continue
            to = target.split("/")[0]
            if room in SEES_ALL or to in {room, "tokamak"}:
                pass
            elif room not in ALLOWED:
                yield f"{where}: room '{room}' is not in tools/check_includes.py"
            elif to not in ALLOWED[room]:
                yield f"{where}: room '{room}' must not include '{target}'; it may see: {', '.join(sorted(ALLOWED[room])) or 'nothing'}"
            for a, b in APART:
                for x, y in ((a, b), (b, a)):
                    if path.startswith(x + "/") and target.startswith(y + "/"):
                        yield f"{where}: '{x}' and '{y}' must not include each other"


def main() -> int:
    found = list(violations(pathlib.Path(__file__).resolve().parent.parent))
    for line in found:
        print(line, file=sys.stderr)
    print(f"include directions: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
