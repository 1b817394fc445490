"""The programs that are compared. Each answers speeds(model, test) in tokens per second; a test is
("prefill", tokens), ("decode", tokens) or ("batch", sequences, prompt, generated)."""
import json
import os
import pathlib
import re
import subprocess

from bench_files import ROOT, llamacpp, python_with, run


class Tokamak:
    def __init__(self, threads, repeats, program=None, extra=()):
        self.threads, self.repeats, self.extra = threads, repeats, list(extra)
        self.program = pathlib.Path(program or ROOT / "build/tokamak")
        self.model = None  # instead of the one that is asked for

    def speed(self, model, test):
        if test[0] == "prefill":
            batch, lengths, field = 1, f"{test[1]},1", "prefill_tokens_per_s"
        elif test[0] == "decode":
            batch, lengths, field = 1, f"1,{test[1] + 1}", "decode_tokens_per_s"
        else:
            batch, lengths, field = test[1], f"{test[2]},{test[3]}", "decode_tokens_per_s"
        out = run(self.program, "bench", "--model", self.model or model, "--workers", self.threads, "--batch_size", batch,
                  "--num_runs", self.repeats, "--input_output_len", lengths, "--json", *self.extra,
                  stdout=subprocess.PIPE).stdout
        return json.loads(out)["cases"][0][field]


class LlamaCpp:
    def __init__(self, threads, repeats, amx, folder=None):
        self.threads, self.repeats = threads, repeats
        self.folder = pathlib.Path(folder) if folder else llamacpp(amx)

    def speed(self, model, test):
        if test[0] == "batch":
            _, sequences, prompt, generated = test
            out = run(self.folder / "llama-batched-bench", "-m", model, "-t", self.threads, "-c",
                      sequences * (prompt + generated), "-npp", prompt, "-ntg", generated, "-npl", sequences,
                      "--output-format", "jsonl", stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
            rows = re.findall(r"\{\"n_kv_max\".*\}", out.decode(errors="replace"))
            return json.loads(rows[-1])["speed_tg"]
        prompt, generated = (test[1], 0) if test[0] == "prefill" else (0, test[1])
        out = run(self.folder / "llama-bench", "-m", model, "-t", self.threads, "-p", prompt, "-n", generated,
                  "-r", self.repeats, "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        return json.loads(out)[0]["avg_ts"]


class OpenVino:
    """openvino_bench.py in an environment of its own; its AMX code faults where CPUID hides the palette."""

    def __init__(self, threads):
        self.threads = threads
        self.python = python_with("openvino", "openvino-genai==2026.4.0.0", "openvino-tokenizers==2026.4.0.0",
                                  "openvino==2026.4.0", "numpy==2.4.6")

    def speed(self, model, test):
        if test[0] == "batch":
            return None
        environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
        out = run(self.python, ROOT / "bench/openvino_bench.py", model, self.threads, test[0], test[1],
                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment).stdout
        return json.loads(out.splitlines()[-1])["tokens_per_s"]
