#!/usr/bin/env python3
"""Plots JSON files as SVG files in the same folder. For attention_bench: time and share of the peak over n. For
compare.py: how many times as fast this library is.

    apt-get install python3-matplotlib
    bench/plot.py build/release/bench/attention_bench.json compared.json
"""
import argparse
import collections
import json
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt


def series_of(runs):
    """Returns {name: {d: [(n, seconds, share of the peak)]}} of all runs with n, d, causal and contiguous heads."""
    series = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        name, *arguments = run["name"].split("/")
        values = dict(a.split(":") for a in arguments if ":" in a)
        if not {"n", "d", "causal"} <= values.keys() or values.get("stride", values["d"]) != values["d"]:
            continue
        title = name + (", causal" if values["causal"] == "1" else "")
        seconds = run["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[run["time_unit"]]
        series[title][int(values["d"])].append((int(values["n"]), seconds, run["peak"]))
    return series


def draw(series, column, label, path):
    titles = sorted(series)
    figure, axes = plt.subplots(len(titles), 1, figsize=(7, 3.2 * len(titles)), squeeze=False)
    for axis, title in zip(axes[:, 0], titles):
        for d, points in sorted(series[title].items()):
            points = sorted(points)
            axis.plot([p[0] for p in points], [p[column] for p in points], marker="o", label=f"d = {d}")
        axis.set(title=title, xlabel="n", ylabel=label, xscale="log")
        axis.set_xscale("log", base=2)
        if label == "seconds":
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    print(path)


def draw_comparison(results, path):
    """Draws a bar for the median ratio of each work and library, and a line from the smallest to the largest ratio."""
    libraries = sorted({result["library"] for result in results})
    figure, axes = plt.subplots(len(libraries), 1, squeeze=False,
                                figsize=(7, 1 + 0.25 * len(results) + 0.8 * len(libraries)),
                                height_ratios=[sum(r["library"] == name for r in results) for name in libraries])
    for axis, library in zip(axes[:, 0], libraries):
        own = [result for result in results if result["library"] == library]
        medians = [result["median"] for result in own]
        errors = [[m - min(r["ratios"]) for m, r in zip(medians, own)], [max(r["ratios"]) - m for m, r in zip(medians, own)]]
        axis.barh([result["work"] for result in own], medians, xerr=errors, height=0.6, color="tab:blue", ecolor="black")
        axis.axvline(1, color="black", linewidth=1)
        axis.set(title=f"speed, as a multiple of {library}'s", xlim=(0, None))
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", nargs="+", type=pathlib.Path)
    for path in parser.parse_args().json:
        content = json.loads(path.read_text())
        if "comparison" in content:
            draw_comparison(content["comparison"], path.with_suffix(".svg"))
            continue
        series = series_of(content["benchmarks"])
        if not series:
            raise SystemExit(f"{path}: no run has n, d and causal in its name")
        draw(series, 1, "seconds", path.with_suffix(".time.svg"))
        draw(series, 2, "share of the peak", path.with_suffix(".peak.svg"))


if __name__ == "__main__":
    main()
