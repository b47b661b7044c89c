#!/usr/bin/env python3
"""Compares the speed of two builds of a benchmark program, such as those of two commits. Each benchmark runs in a process
of its own, in turn for the two builds, because the speed of a shared machine varies. Prints two numbers for each
benchmark, smallest first: the speed of the second build divided by that of the first, from the fastest runs and from
the medians.

    bench/in_turn.py old/build/release/bin/scores_bench build/release/bin/scores_bench --filter d:64 --rounds 5
"""
import argparse
import json
import math
import re
import statistics
import subprocess
import tempfile


def names(program, pattern):
    """Returns the names of the program's benchmarks that match the pattern."""
    command = [program, "--benchmark_list_tests", f"--benchmark_filter={pattern}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line and " " not in line]  # attention_bench also prints sentences


def seconds(program, name):
    """Returns the time of one benchmark, in the benchmark's unit."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([program, f"--benchmark_filter=^{re.escape(name)}$", f"--benchmark_out={out.name}",
                        "--benchmark_out_format=json"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.load(open(out.name))["benchmarks"][0]["real_time"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--filter", default=".", help="regular expression for the names of benchmarks")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each benchmark and build")
    given = parser.parse_args()
    in_old = set(names(given.old, given.filter))
    speeds = []
    for name in names(given.new, given.filter):
        if name not in in_old:
            print(f"only in the second build: {name}")
            continue
        times = {given.old: [], given.new: []}
        for turn in range(given.rounds):
            for program in (given.old, given.new) if turn % 2 == 0 else (given.new, given.old):
                times[program].append(seconds(program, name))
        old, new = times[given.old], times[given.new]
        speeds.append((min(old) / min(new), statistics.median(old) / statistics.median(new), name))
    if not speeds:
        parser.error(f"no benchmark matches {given.filter}")
    print("fastest  median  benchmark")
    for fastest, median, name in sorted(speeds):
        print(f"{fastest:7.3f} {median:7.3f}  {name}")
    mean = [math.exp(statistics.fmean(math.log(speed[i]) for speed in speeds)) for i in (0, 1)]
    print(f"{mean[0]:7.3f} {mean[1]:7.3f}  geometric mean of {len(speeds)}")


if __name__ == "__main__":
    main()
