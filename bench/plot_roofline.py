#!/usr/bin/env python3
"""Draws kernel_bench's JSON as a roofline: plot_roofline.py KERNELS.json OUT.svg|OUT.png (needs matplotlib).

Each point is one tactic on one shape: operations per byte that the op must move against the rate reached;
the lines are what the machine allows (memory slope, arithmetic ceilings of the levels).
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"avx2": "#8c8c8c", "avx512": "#3b76af", "avx512_vnni": "#c66526", "amx": "#3a8a5c"}
MARKERS = {"f32": "o", "bf16": "s", "int16": "^", "int8": "v"}


def ceilings(limits):
    """(label, GFLOP/s) of the arithmetic peaks, each once, at the level that reaches it."""
    best = {}
    for level, rates in limits.items():
        for kind in ("f32_gflop_s", "bf16_gflop_s", "int8_gop_s"):
            unit = "AMX " if level == "amx" and kind != "f32_gflop_s" else ""
            label = f"{unit}{kind.split('_')[0]}"
            if rates[kind] > 0:
                best[label] = max(best.get(label, 0), rates[kind])
    return sorted(best.items(), key=lambda item: item[1])


def main():
    data = json.load(open(sys.argv[1]))
    rows = [r for r in data["rows"] if r["gb_s"] > 0]
    bandwidth = max(l["read_gb_s"] for l in data["limits"].values())
    peaks = ceilings(data["limits"])
    low, high = 0.25, max(4096.0, 2 * max(r["gflop_s"] / r["gb_s"] for r in rows))
    figure, axes = plt.subplots(figsize=(9, 6))
    for label, peak in peaks:
        axes.plot([peak / bandwidth, high], [peak, peak], color="#444444", linewidth=0.8)
        axes.annotate(f"{label} {peak:.0f}", (high, peak), ha="right", va="bottom", fontsize=8)
    top = peaks[-1][1]
    axes.plot([low, top / bandwidth], [low * bandwidth, top], color="#444444", linewidth=0.8)
    axes.annotate(f"memory {bandwidth:.0f} GB/s", (low * 1.2, low * 1.2 * bandwidth), rotation=38, va="bottom",
                  fontsize=8)
    seen = set()
    for r in rows:
        math = r["tactic"].split(".")[1]
        key = (r["isa"], math if math in MARKERS else "f32")
        axes.scatter(r["gflop_s"] / r["gb_s"], r["gflop_s"], s=22, alpha=0.75, linewidths=0,
                     color=COLOURS.get(key[0], "black"), marker=MARKERS[key[1]],
                     label=None if key in seen else f"{key[0]} {math if math in MARKERS else 'attention'}")
        seen.add(key)
    axes.set(xscale="log", yscale="log", xlim=(low, high), xlabel="operations per byte",
             ylabel="GFLOP/s (useful)", title=f"{data['device']}")
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(sys.argv[2], dpi=120)


if __name__ == "__main__":
    main()
