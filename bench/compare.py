#!/usr/bin/env python3
"""Compares this library with PyTorch, ONNX Runtime and CTranslate2: attention, linear layers and training in float and
bfloat16, and decoding in float32 and int8. Times the libraries in turn and prints how many times as fast this library
is. All use one thread, but two in training.

    pip install torch onnxruntime onnx ctranslate2 numpy
    cmake --build build/release --target bench/all
    bench/compare.py build/release/bin --json compared.json
    bench/plot.py compared.json

Leaves out libraries that are not installed.
"""
import argparse
import collections
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import time
from functools import partial

import export_ctranslate2
import peers

# our_benchmark: the program and the name of the benchmark. call_makers: {library: function that returns its call}
Measurement = collections.namedtuple("Measurement", "name our_benchmark call_makers")


def seconds_of_ours(programs, our_benchmark):
    """Returns the time of a call of this library. our_benchmark: (program, benchmark)."""
    program, benchmark = our_benchmark
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([programs / program, f"--benchmark_filter=^{re.escape(benchmark)}(/|$)",
                        f"--benchmark_out={out.name}", "--benchmark_out_format=json"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        runs = json.load(open(out.name))["benchmarks"]
    return runs[0]["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[runs[0]["time_unit"]]


def seconds_of(call, least=0.2):
    """Returns the median time of a call, after a first call that is not measured."""
    call()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < least:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def calls_of(work):
    """Returns {library: call} of the libraries that are installed."""
    calls = {}
    for library, make in work.call_makers.items():
        try:
            calls[library] = make()
        except ImportError as error:
            print(f"{library} is left out of {work.name}: {error}")
    return calls


def attention(programs):
    for causal in (False, True):
        for n in (128, 512, 2048, 8192):
            for d in (32, 64, 128):
                name = f"float attention, n {n}, d {d}{', causal' * causal}"
                own = f"attention_forward/n:{n}/d:{d}/causal:{int(causal)}/stride:{d}"
                yield Measurement(name, ("attention_bench", own), {
                    "PyTorch": partial(peers.pytorch_attention, n, d, causal, "float32"),
                    "ONNX Runtime": partial(peers.onnx_runtime_attention, n, d, causal)})


def bfloat16_attention(programs):
    for causal in (False, True):
        for n in (128, 512, 2048, 8192):
            for d in (64, 128):
                name = f"bfloat16 attention, n {n}, d {d}{', causal' * causal}"
                own = f"bfloat16_forward/n:{n}/d:{d}/causal:{int(causal)}/stride:{d}"
                yield Measurement(name, ("attention_bench", own), {
                    "PyTorch": partial(peers.pytorch_attention, n, d, causal, "bfloat16")})


def linear(programs):
    """PyTorch's bfloat16 layer takes and returns bfloat16 numbers. Ours takes and returns floats, and rounds them."""
    for precision, own in (("float32", "dense"), ("bfloat16", "dense_reduced<ef::WeightType::bfloat16>")):
        for rows in (64, 256, 1024, 4096):
            name = f"{precision} linear layer 512 x 512, {rows} rows"
            yield Measurement(name, ("matmul_bench", f"{own}/m:{rows}/k:512/n:512"), {
                "PyTorch": partial(peers.pytorch_linear, rows, 512, precision)})


def training(programs):
    for number, precision in ((0, "float32"), (1, "bfloat16")):
        for width in (128, 256, 512):
            own = f"training_step/width:{width}/threads:2/precision:{number}"
            yield Measurement(f"{precision} training, width {width}", ("training_bench", own), {
                "PyTorch": partial(peers.pytorch_training_step, width, 2, precision)})


def read_sentences(path):
    """Returns the sentences of a file of token numbers, with the tokens of CTranslate2's vocabulary."""
    specials = {"0": "<unk>", "1": "<s>", "2": "</s>"}
    return [[specials.get(token, token) for token in line.split()] for line in path.read_text().splitlines()]


def report_agreement(folder, translator, sentences):
    """Prints how many float32 translations of both libraries are the same, as a check that they compute the same."""
    for beam_size in (1, 5):
        ours = read_sentences(folder / f"beam_{beam_size}.txt")
        theirs = peers.ctranslate2_decoding(translator, sentences, beam_size, len(ours[0]))()
        same = sum(a == b for a, b in zip(ours, theirs))
        print(f"beam {beam_size}: {same} of {len(ours)} translations by CTranslate2 are the same")


def decoding(programs):
    with tempfile.TemporaryDirectory() as scratch:
        folder, converted = pathlib.Path(scratch) / "model", pathlib.Path(scratch) / "converted"
        subprocess.run([programs / "translation_bench", "--save", folder], check=True)
        try:
            export_ctranslate2.export(folder, converted)
        except ImportError as error:
            print(f"CTranslate2 is left out: {error}")
            return
        sentences = read_sentences(folder / "source.txt")
        length = len(read_sentences(folder / "beam_1.txt")[0])
        for number, weights in ((0, "float32"), (2, "int8")):
            translator = peers.ctranslate2_translator(converted, weights)
            if weights == "float32":
                report_agreement(folder, translator, sentences)
            for batch in (1, 32):
                for beam_size in (1, 5):
                    own = f"decode/batch:{batch}/beam:{beam_size}/weights:{number}"
                    make = partial(peers.ctranslate2_decoding, translator, sentences[:batch], beam_size, length)
                    name = f"{weights} decoding, batch {batch}, beam {beam_size}"
                    yield Measurement(name, ("translation_bench", own), {"CTranslate2": make})


WORKS = {"attention": attention, "bfloat16": bfloat16_attention, "linear": linear, "training": training,
         "decoding": decoding}


def compare(programs, work, rounds):
    """Returns {library: [its time divided by ours, per round]}."""
    calls = calls_of(work)
    ratios = {library: [] for library in calls}
    for _ in range(rounds if calls else 0):
        own = seconds_of_ours(programs, work.our_benchmark)
        for library, call in calls.items():
            ratios[library].append(seconds_of(call) / own)
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=pathlib.Path, help="the folder of the benchmark programs")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS), help="the kinds of measurements")
    parser.add_argument("--match", default="", help="regular expression for the names of measurements")
    parser.add_argument("--rounds", type=int, default=5, help="how often each library is measured")
    parser.add_argument("--json", type=pathlib.Path, help="also writes all ratios to this file")
    arguments = parser.parse_args()
    results = []
    for kind in arguments.only:
        for work in WORKS[kind](arguments.programs):
            if not re.search(arguments.match, work.name):
                continue
            for library, ratios in compare(arguments.programs, work, arguments.rounds).items():
                median = statistics.median(ratios)
                print(f"{work.name:44} {library:12} x {median:5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})",
                      flush=True)
                results.append({"work": work.name, "library": library, "median": median, "ratios": ratios})
    if arguments.json:
        arguments.json.write_text(json.dumps({"comparison": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
