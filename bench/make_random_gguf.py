#!/usr/bin/env python3
"""Writes a LLaMA-shaped GGUF with random weights, for speed comparisons on shapes no package carries.

  make_random_gguf.py CONFIG.json TYPE OUT.gguf      TYPE: bf16 | f16 | q8_0 | q4_0 | q4_1

The vocabulary is bytes plus filler tokens. Needs: pip install numpy gguf.
"""
import json
import sys

import gguf
import numpy as np

TYPES = {"bf16": gguf.GGMLQuantizationType.BF16, "f16": gguf.GGMLQuantizationType.F16,
         "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0,
         "q4_1": gguf.GGMLQuantizationType.Q4_1}
FILE_TYPES = {"bf16": 32, "f16": 1, "q8_0": 7, "q4_0": 2, "q4_1": 3}


def vocabulary(writer, size):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    types = [2, 3, 3] + [6] * 256
    tokens += [f"▁t{i}" for i in range(size - len(tokens))]
    types += [1] * (size - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(size)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def main():
    config, kind, out = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3]
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    head = hidden // heads
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-5))
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(FILE_TYPES[kind])
    vocabulary(writer, config["vocab_size"])

    # Quantized once, in pieces of one block; every matrix is a stretch of it, from another place on.
    pool = gguf.quantize(random.standard_normal((1 << 17, 32), dtype=np.float32) * 0.02, TYPES[kind])

    def matrix(name, rows, columns):
        data = np.resize(np.roll(pool, -random.integers(0, 1 << 17), axis=0), (rows * columns // 32, pool.shape[1]))
        writer.add_tensor(name, data.reshape(rows, -1), raw_dtype=TYPES[kind])

    def ones(name, n):
        writer.add_tensor(name, np.ones(n, dtype=np.float32))

    matrix("token_embd.weight", config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        b = f"blk.{i}."
        ones(b + "attn_norm.weight", hidden)
        matrix(b + "attn_q.weight", heads * head, hidden)
        matrix(b + "attn_k.weight", kv * head, hidden)
        matrix(b + "attn_v.weight", kv * head, hidden)
        matrix(b + "attn_output.weight", hidden, heads * head)
        ones(b + "ffn_norm.weight", hidden)
        matrix(b + "ffn_gate.weight", inner, hidden)
        matrix(b + "ffn_up.weight", inner, hidden)
        matrix(b + "ffn_down.weight", hidden, inner)
    ones("output_norm.weight", hidden)
    if not config.get("tie_word_embeddings"):
        matrix("output.weight", config["vocab_size"], hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=False)
    writer.close()


if __name__ == "__main__":
    main()
