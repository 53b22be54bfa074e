"""Draws a quantisation sweep: penalty, score and size against warm-down.

    pip install matplotlib
    python benchmarks/plot_sweep.py benchmarks/results/2026-11-22_warmdown_sweep_h100.jsonl \
        --out docs/images/warmdown_sweep.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

STYLES = {
    "int8": ("8 bits", "-", "o"),
    "int8_fp16_embedding": ("8 bits, embedding in fp16", "-", "s"),
    "int6": ("6 bits", "--", "o"),
    "int6_fp16_embedding": ("6 bits, embedding in fp16", "--", "s"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    records = [json.loads(line) for line in arguments.sweep.read_text().splitlines()]
    score = {(r["warmdown_iters"], r["form"], r["eval_seq_len"]): r for r in records}
    settings = sorted({r["warmdown_iters"] for r in records})
    lengths = sorted({r["eval_seq_len"] for r in records})
    shares = [setting / records[0]["iterations"] for setting in settings]
    plt.rcParams.update({"font.size": 9})
    figure, (penalty, bpb, size) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for form, (label, line, marker) in STYLES.items():
        lost = [
            1000 * (score[s, form, lengths[0]]["val_bpb"] - score[s, "raw", lengths[0]]["val_bpb"])
            for s in settings
        ]
        megabytes = [score[s, form, lengths[0]]["artifact_bytes_zlib"] / 1e6 for s in settings]
        style = {"linestyle": line, "marker": marker, "color": "0.2", "markersize": 4}
        style["markerfacecolor"] = "white" if "fp16" in form else "0.2"
        penalty.plot(shares, lost, label=label, **style)
        size.plot(shares, megabytes, label=label, **style)
    for length, line in zip(lengths, ("-", "--", ":"), strict=False):
        values = [score[s, "raw", length]["val_bpb"] for s in settings]
        bpb.plot(shares, values, line, color="0.2", marker="o", markersize=4, label=str(length))
    penalty.set(ylabel="lost by rounding (0.001 BPB)", yscale="log")
    bpb.set(ylabel="unrounded score (BPB)")
    size.set(ylabel="artifact, zlib (MB)")
    bpb.legend(title="evaluation length (tokens)")
    penalty.legend()
    for axes in (penalty, bpb, size):
        axes.set(xlabel="warm-down iterations / iterations")
        axes.grid(color="0.9")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
