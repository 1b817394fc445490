#!/usr/bin/env python3
"""Takes a quantized GGUF off its grid: the same function in bfloat16 weights that no 4-bit format holds exactly.

  make_off_grid_gguf.py IN.gguf OUT.gguf [--q4_1]

Published small models come as 4-bit files, and encoding those values in 4 bits again loses next to nothing. So
every channel between two linear layers is scaled by a random factor (up to --most either way) on one side and by
its inverse on the other: norm weights against the columns behind them, rows of v against columns of the attention
output, rows of up against columns of down. --q4_1 stores the layers' matrices as gguf-py's reference encoder
(llama.cpp's, without importances) makes Q4_1 of those bfloat16 values. Needs: pip install numpy gguf.
"""
import argparse

import gguf
import numpy as np

Type = gguf.GGMLQuantizationType


def bfloat16(x):
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def rescale(weights, layers, heads, kv_heads, spread, random):
    def factors(n):
        return np.exp2(random.uniform(-spread, spread, n)).astype(np.float32)

    for i in range(layers):
        w = lambda name: weights[f"blk.{i}.{name}.weight"]
        for norm, readers in ("attn_norm", ("attn_q", "attn_k", "attn_v")), ("ffn_norm", ("ffn_gate", "ffn_up")):
            s = factors(w(norm).size)
            w(norm)[:] /= s
            for reader in readers:
                w(reader)[:] *= s
        s = factors(w("attn_v").shape[0])
        w("attn_v")[:] *= s[:, None]
        by_head = np.repeat(s.reshape(kv_heads, -1), heads // kv_heads, axis=0)
        w("attn_output")[:] /= by_head.reshape(-1)
        s = factors(w("ffn_up").shape[0])
        w("ffn_up")[:] *= s[:, None]
        w("ffn_down")[:] /= s


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--q4_1", action="store_true")
    parser.add_argument("--most", type=float, default=2**0.5, help="largest factor (default: sqrt 2)")
    args = parser.parse_args()
    reader = gguf.GGUFReader(args.input)
    field = lambda name: reader.fields[name].contents()
    arch = field("general.architecture")
    weights = {t.name: np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32) for t in reader.tensors}
    rescale(weights, field(f"{arch}.block_count"), field(f"{arch}.attention.head_count"),
            field(f"{arch}.attention.head_count_kv"), np.log2(args.most), np.random.default_rng(1))

    writer = gguf.GGUFWriter(args.output, arch)
    for name, f in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        writer.add_key_value(name, f.contents(), f.types[0], f.types[-1] if len(f.types) > 1 else None)
    for name, w in weights.items():
        if w.ndim < 2:
            writer.add_tensor(name, w)
            continue
        kind = Type.Q4_1 if args.q4_1 and name.startswith("blk.") else Type.BF16
        writer.add_tensor(name, gguf.quantize(bfloat16(w), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=False)
    writer.close()


if __name__ == "__main__":
    main()
