#!/usr/bin/env python3
"""One speed of OpenVINO GenAI: openvino_bench.py MODEL.gguf THREADS prefill|decode TOKENS → JSON."""
import json
import statistics
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai

model, threads, test, tokens = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
pipe = genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
prompt = tokens if test == "prefill" else 1
generate = 1 if test == "prefill" else tokens + 1
random = np.random.default_rng(1)
config = genai.GenerationConfig(max_new_tokens=generate, ignore_eos=True, do_sample=False,
                                apply_chat_template=False)
times = []


def stamp(*_):
    times.append(time.perf_counter())
    return False


speeds = []
for run in range(3):  # the first warms up
    ids = random.integers(300, 40000, (1, prompt), dtype=np.int64)  # new: prefixes are cached
    inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
    times.clear()
    start = time.perf_counter()
    pipe.generate(inputs, config, stamp)
    if test == "prefill":
        speeds.append(tokens / (time.perf_counter() - start))
    else:
        speeds.append((len(times) - 1) / (times[-1] - times[0]))
print(json.dumps({"tokens_per_s": statistics.median(speeds[1:])}))
