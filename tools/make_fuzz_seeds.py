#!/usr/bin/env python3
"""Writes the seeds of the safetensors, gguf and checkpoint_config fuzzers to tests/fuzz/corpus.
Needs: pip install gguf numpy."""
import json
import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests/fuzz/corpus"


def safetensors(path):
    header = json.dumps({
        "__metadata__": {"format": "pt", "block:b": "q4_0 2 32"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "U8", "shape": [2, 18], "data_offsets": [24, 60]},
        "c": {"dtype": "BF16", "shape": [], "data_offsets": [60, 62]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(62))


def gguf(path, architecture):
    w = GGUFWriter(path, architecture)
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_feed_forward_length(32)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_sliding_window(16)
    w.add_token_list(["a", "bc", "def"])
    w.add_token_types([1, 2, 3])
    w.add_token_scores([0.0, -1.0, 2.0])
    w.add_bool("flag", True)
    for name in ["token_embd", "blk.0.ffn_down"]:
        w.add_tensor(name + ".weight", np.zeros((4, 18), np.uint8), raw_shape=(4, 18),
                     raw_dtype=GGMLQuantizationType.Q4_0)
    w.add_tensor("rope_freqs.weight", np.ones(4, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    for name in ["safetensors", "gguf", "checkpoint_config"]:
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    safetensors(ROOT / "safetensors/small")
    for architecture in ["llama", "gemma3", "phi3"]:
        gguf(ROOT / "gguf" / architecture, architecture)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    checkpoint = {"architecture": "LlamaForCausalLM", "model_type": "llama", "dtype": "bfloat16",
                  "head_size": 8, "layer_windows": [4, 0], "no_rope_layers": [False, True],
                  "rotary_scaling": {"rope_type": "longrope", "factor": 2.0,
                                     "original_max_position_embeddings": 64,
                                     "short_factor": [1, 1, 1, 1], "long_factor": [2, 2, 2, 2]},
                  "mapping": {"tp_size": 2, "pp_size": 1}, "extra": {"x": [1, {"y": 2}]},
                  "quantization": {"quant_algo": "GGUF", "exclude_modules": ["lm_head"]}, **sizes}
    hf = {"architectures": ["Gemma3ForCausalLM"], "rms_norm_eps": 1e-6, "torch_dtype": "float16",
          "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"],
          "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0},
                              "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}}
    for name, value in {"checkpoint": checkpoint, "gemma3": {**hf, **sizes}}.items():
        (ROOT / "checkpoint_config" / name).write_text(json.dumps(value))


main()
