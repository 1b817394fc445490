#!/usr/bin/env python3
"""Dumps rotary inverse frequencies as Hugging Face transformers computes them.

Writes a JSON list of cases {name, attrs, length, inv_freq, magnitude}; attrs are the fields of
ops/rope.h. Needs torch and transformers.

    tools/make_rope_fixtures.py > tests/data/graph/rope_tables.json
"""
import json

from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def config(head_dim, theta, max_position, scaling, rotary_pct=1.0):
    rope = dict(scaling, rope_theta=theta)
    if rotary_pct != 1.0:
        rope["partial_rotary_factor"] = rotary_pct
    return LlamaConfig(
        hidden_size=4 * head_dim, num_attention_heads=4, head_dim=head_dim,
        max_position_embeddings=max_position, rope_parameters=rope)


def table(cfg, kind, length):
    if kind != "default":
        return ROPE_INIT_FUNCTIONS[kind](cfg, None, seq_len=length)
    # The plain table is the linear one with factor 1.
    cfg.rope_parameters["factor"] = 1.0
    return ROPE_INIT_FUNCTIONS["linear"](cfg, None, seq_len=length)


def ramp(n, low, high):
    return [round(low + (high - low) * i / (n - 1), 4) for i in range(n)]


LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)
LONG = dict(rope_type="longrope", original_max_position_embeddings=4096)

# name, head_dim, theta, max_position, rotary_pct, scaling, length
CASES = [
    ("plain", 64, 10000.0, 2048, 1.0, dict(rope_type="default"), 100),
    ("partial", 80, 10000.0, 2048, 0.4, dict(rope_type="default"), 100),
    ("linear", 64, 10000.0, 8192, 1.0, dict(rope_type="linear", factor=4.0), 100),
    ("linear_gemma3", 256, 1000000.0, 131072, 1.0, dict(rope_type="linear", factor=8.0), 100),
    ("dynamic_short", 64, 10000.0, 2048, 1.0, dict(rope_type="dynamic", factor=2.0), 1000),
    ("dynamic_long", 64, 10000.0, 2048, 1.0, dict(rope_type="dynamic", factor=2.0), 5000),
    ("llama3.1", 128, 500000.0, 131072, 1.0, LLAMA3, 100),
    ("llama3.2", 64, 500000.0, 131072, 1.0, dict(LLAMA3, factor=32.0), 100),
    ("yarn", 128, 1000000.0, 131072, 1.0, YARN, 100),
    ("yarn_no_truncate", 64, 150000.0, 131072, 1.0,
     dict(YARN, factor=32.0, original_max_position_embeddings=4096, truncate=False), 100),
    ("yarn_mscale", 64, 10000.0, 163840, 1.0,
     dict(YARN, factor=40.0, original_max_position_embeddings=4096, mscale=1.0,
          mscale_all_dim=0.707), 100),
    ("yarn_attention_factor", 64, 10000.0, 65536, 1.0,
     dict(YARN, factor=16.0, original_max_position_embeddings=4096, attention_factor=1.25,
          beta_fast=16.0, beta_slow=2.0), 100),
    ("longrope_short", 96, 10000.0, 131072, 1.0,
     dict(LONG, short_factor=ramp(48, 1, 2), long_factor=ramp(48, 1, 60)), 4096),
    ("longrope_long", 96, 10000.0, 131072, 1.0,
     dict(LONG, short_factor=ramp(48, 1, 2), long_factor=ramp(48, 1, 60)), 4097),
    ("longrope_factor", 128, 10000.0, 131072, 0.75,
     dict(LONG, factor=16.0, short_factor=ramp(48, 1, 2), long_factor=ramp(48, 1, 60)), 9000),
]

RENAMED = {"rope_type": "scaling", "original_max_position_embeddings": "original_max_position"}


def main():
    rows = []
    for name, head_dim, theta, max_position, pct, scaling, length in CASES:
        cfg = config(head_dim, theta, max_position, scaling, pct)
        inv_freq, magnitude = table(cfg, scaling["rope_type"], length)
        attrs = {"rope_" + RENAMED.get(k, k): v for k, v in scaling.items()}
        if attrs["rope_scaling"] == "default":
            del attrs["rope_scaling"]
        attrs.update(rope_head_dim=head_dim, rope_rotary_dim=int(head_dim * pct),
                     rope_theta=theta, rope_max_position=max_position)
        rows.append(dict(name=name, attrs=attrs, length=length, magnitude=magnitude,
                         inv_freq=[float(f"{v:.9g}") for v in inv_freq.tolist()]))
    print("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]")


if __name__ == "__main__":
    main()
