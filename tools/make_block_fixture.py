#!/usr/bin/env python3
"""Writes tests/data/base/block_codec.bin: random blocks of every GGUF format with the values that the
`gguf` package (and torch, for the 8-bit floats) reads from them. Needs: pip install gguf torch numpy.

Records: name (8 bytes), elements (u32), bytes (u32), the blocks, the values as float32."""
import pathlib
import struct

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Q
from gguf.quants import dequantize

SCALES = {  # byte offsets of the float16 numbers in a block
    "q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2], "q8_0": [0], "q2_k": [80, 82],
    "q3_k": [108], "q4_k": [0, 2], "q5_k": [0, 2], "q6_k": [208],
}


def main():
    rng = np.random.default_rng(20250101)
    out = bytearray()

    def record(name, elements, blocks, values):
        out.extend(struct.pack("<8sII", name.encode(), elements, len(blocks)))
        out.extend(blocks)
        out.extend(values.astype("<f4").tobytes())

    for name, offsets in SCALES.items():
        elements, size = GGML_QUANT_SIZES[Q[name.upper()]]
        count = 512 // elements
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for at in offsets:
            scale = rng.normal(0, 0.05, count).astype(np.float16)
            blocks[:, at:at + 2] = scale.view(np.uint8).reshape(count, 2)
        values = dequantize(blocks, Q[name.upper()])
        record(name, 512, blocks.tobytes(), values.reshape(-1))
    for name, dtype in {"f8e4m3": torch.float8_e4m3fn, "f8e5m2": torch.float8_e5m2}.items():
        codes = np.arange(256, dtype=np.uint8)
        record(name, 256, codes.tobytes(), torch.from_numpy(codes).view(dtype).float().numpy())
    path = pathlib.Path(__file__).resolve().parent.parent / "tests/data/base/block_codec.bin"
    path.write_bytes(out)
    print(f"{path}: {len(out)} bytes")


main()
