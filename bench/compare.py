#!/usr/bin/env python3
"""Compares attention of this library with that of PyTorch and ONNX Runtime: one head, one thread, the same shapes.

Skips libraries that are not installed. Times the libraries in turn and prints how many times as fast this library is.

    pip install torch onnxruntime onnx
    bench/compare.py build/release/bin/attention_bench
"""
import argparse
import json
import subprocess
import tempfile
import time

import numpy


def ours(program, n, d, causal):
    """Returns the seconds of one call of this library."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run(
            [program, f"--benchmark_filter=^attention_forward/n:{n}/d:{d}/causal:{causal}/stride:{d}/",
             f"--benchmark_out={out.name}", "--benchmark_out_format=json"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        runs = json.load(open(out.name))["benchmarks"]
    return runs[0]["real_time"] * 1e-3


def torch_attention():
    import torch

    torch.set_num_threads(1)

    def prepare(q, k, v, causal):
        tensors = [torch.from_numpy(x).reshape(1, 1, *x.shape) for x in (q, k, v)]

        def call():
            with torch.no_grad():
                torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=bool(causal))

        return call

    return prepare


def onnx_attention():
    import onnx
    import onnxruntime

    def prepare(q, k, v, causal):
        names, shape = ["Q", "K", "V"], [1, 1, *q.shape]
        make = onnx.helper.make_tensor_value_info
        node = onnx.helper.make_node("Attention", names, ["Y"], is_causal=causal)
        graph = onnx.helper.make_graph([node], "attention", [make(x, onnx.TensorProto.FLOAT, shape) for x in names],
                                       [make("Y", onnx.TensorProto.FLOAT, shape)])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=11)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        inputs = {name: x.reshape(shape) for name, x in zip(names, (q, k, v))}
        return lambda: session.run(None, inputs)

    return prepare


def seconds_of(call, least=0.2):
    call()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < least:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="attention_bench")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    others = {}
    for name, make in (("PyTorch", torch_attention), ("ONNX Runtime", onnx_attention)):
        try:
            others[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    generator = numpy.random.default_rng(1)
    for n in (128, 512, 2048, 8192):
        for d in (32, 64, 128):
            for causal in (0, 1):
                q, k, v = (generator.standard_normal((n, d), dtype=numpy.float32) for _ in range(3))
                calls = {name: make(q, k, v, causal) for name, make in others.items()}
                ratios = {name: [] for name in calls}
                for _ in range(arguments.rounds):
                    own = ours(arguments.program, n, d, causal)
                    for name, call in calls.items():
                        ratios[name].append(seconds_of(call) / own)
                medians = ", ".join(f"{name} x {sorted(r)[len(r) // 2]:.2f}" for name, r in ratios.items())
                print(f"n {n:5} d {d:3} causal {causal}: {medians}", flush=True)


if __name__ == "__main__":
    main()
