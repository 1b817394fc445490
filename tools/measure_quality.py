#!/usr/bin/env python3
"""What quantized weights and 8-bit activations cost: runs `tokamak eval kl` over recipes, prints Markdown.

  measure_quality.py weights     WORK MODEL.gguf [--other NAME=FILE.gguf] [--windows N]
  measure_quality.py activations WORK MODEL.gguf [--windows N]
  measure_quality.py text        WORK

The reference of `weights` is MODEL itself, its weights widened to float32. Results are kept in WORK and not
measured twice. The text: this repository's founding.txt, GPL-3 (Debian's base-files) and Python's own language
reference (pydoc_data), in turns of 6 KB; several registers, 35 thousand tokens.
"""
import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECIPES = [  # qformat, flags
    ("int8_wo", []), ("int8_wo", ["--group_size", "128"]), ("int8_wo", ["--group_size", "64"]),
    ("int8_wo", ["--group_size", "32"]),
    ("int8_wo", ["--asymmetric"]), ("int8_wo", ["--asymmetric", "--group_size", "128"]),
    ("int8_wo", ["--asymmetric", "--group_size", "32"]),
    ("int8_wo", ["--quantize_lm_head"]),
    ("int4_wo", ["--asymmetric", "--group_size", "32"]), ("int4_wo", ["--group_size", "32"]),
    ("int4_wo", ["--asymmetric", "--group_size", "64"]), ("int4_wo", ["--group_size", "64"]),
    ("int4_wo", ["--asymmetric", "--group_size", "128"]), ("int4_wo", ["--group_size", "128"]),
    ("int4_wo", ["--asymmetric", "--group_size", "-1"]), ("int4_wo", ["--group_size", "-1"]),
]
STORED = [("as stored", None, []), ("int8 per row", "int8_wo", []), ("int8 g32", "int8_wo", ["--group_size", "32"]),
          ("int8 g128", "int8_wo", ["--group_size", "128"]), ("int4 g128", "int4_wo", []),
          ("int4 g32", "int4_wo", ["--group_size", "32"])]
KINDS = ["qkv", "attention_out", "gate_up", "down", "lm_head"]


def text_of():
    import pydoc_data.topics
    sources = [(ROOT / "tests/data/text/founding.txt").read_text(),
               pathlib.Path("/usr/share/common-licenses/GPL-3").read_text(),
               "\n\n".join(pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics))[:55000]]
    turns = max(map(len, sources)) // 6000 + 1
    return "\n\n".join(s[i * 6000:(i + 1) * 6000] for i in range(turns) for s in sources if s[i * 6000:])


class Lab:
    def __init__(self, args):
        self.work = pathlib.Path(args.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.tokamak, self.windows = args.tokamak, args.windows
        self.text = self.work / "text.txt"
        self.text.write_text(text_of())
        self.file = self.work / "results.json"
        self.results = json.loads(self.file.read_text()) if self.file.exists() else {}

    def run(self, *command):
        return subprocess.run([self.tokamak, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout

    def checkpoint(self, name, *command):
        out = self.work / name
        if not out.exists():
            try:
                self.run(*command, "--output_dir", out)
            except subprocess.CalledProcessError:
                return None  # groups that do not divide this model's rows; stderr has said so
        return out

    def compare(self, reference, models, *flags):
        """The results of the models against the reference, in their order; those not known yet in one run."""
        key = lambda model: " ".join(map(str, [model, reference, *flags, self.windows]))
        missing = [m for m in map(str, models) if key(m) not in self.results]
        if missing:
            also = ["--also", ",".join(missing[1:])] if missing[1:] else []
            out = json.loads(self.run("eval", "kl", "--model", missing[0], *also, "--reference", reference, "--text",
                                      self.text, "--windows", self.windows, "--cache_dir", self.work / "engines",
                                      "--no_tuning", "--json", *flags))
            for r in out if also else [out]:
                self.results[key(r["model"])] = r
            self.file.write_text(json.dumps(self.results, indent=1))
        return [self.results[key(m)] for m in models]


def row(name, r):
    print(f"| {name} | {r['perplexity']:.4f} | {100 * r['perplexity_change']:+.3f} ± "
          f"{100 * r['perplexity_change_stderr']:.3f} | {r['kl_divergence']:.2e} | "
          f"{100 * r['same_likeliest_token']:.2f} |", flush=True)


def head(what):
    print(f"\n| {what} | perplexity | change, % | KL | same top-1, % |\n|---|---:|---:|---:|---:|")


def weights(lab, args):
    stem = pathlib.Path(args.model).stem
    reference = lab.checkpoint(f"{stem}-f32", "convert", "--model_dir", args.model, "--dtype", "float32",
                               "--keep_quantized", "false")
    plain = lab.checkpoint(f"{stem}-bf16", "convert", "--model_dir", args.model, "--dtype", "bfloat16",
                           "--keep_quantized", "false")
    names, models = ["bfloat16 engine"], [plain]
    for other in args.other:
        name, file = other.split("=", 1)
        names.append(name)
        models.append(file)
    for qformat, flags in RECIPES:
        name = " ".join([qformat, *flags])
        if args.only and name not in args.only:
            continue
        folder = f"{stem} {name}".replace("--", "").replace(" ", "-")
        made = lab.checkpoint(folder, "quantize", "--checkpoint_dir", plain, "--qformat", qformat, *flags)
        if made:
            names.append(name)
            models.append(made)
    results = lab.compare(reference, models)
    head(f"{stem}: weights")
    for name, result in zip(names, results):
        row(name, result)


def activations(lab, args):
    stem = pathlib.Path(args.model).stem
    head(f"{stem}: activations of 8 bits")
    for name, qformat, flags in STORED:
        if args.only and name not in args.only:
            continue
        model = args.model
        if qformat:
            folder = "-".join([stem, qformat, *flags]).replace("--", "")
            plain = lab.checkpoint(f"{stem}-bf16", "convert", "--model_dir", args.model, "--dtype", "bfloat16",
                                   "--keep_quantized", "false")
            model = lab.checkpoint(folder, "quantize", "--checkpoint_dir", plain, "--qformat", qformat, *flags)
            if not model:
                continue
        for kinds in [*KINDS, "8"]:
            if kinds == "lm_head" and qformat:
                continue  # its weights stay bfloat16
            row(f"{name}: {'all' if kinds == '8' else kinds}", lab.compare(model, [model], "--activation_bits", kinds)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["weights", "activations", "text"])
    parser.add_argument("work")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--other", action="append", default=[], help="NAME=FILE: another encoding of the same weights")
    parser.add_argument("--only", action="append", default=[], help="only these recipes or formats")
    parser.add_argument("--windows", type=int, default=0, help="of 512 tokens; 0: all")
    parser.add_argument("--tokamak", default=str(ROOT / "build/tokamak"))
    args = parser.parse_args()
    lab = Lab(args)
    if args.what != "text":
        {"weights": weights, "activations": activations}[args.what](lab, args)


if __name__ == "__main__":
    main()
