#!/usr/bin/env python3
"""Writes cases for the program `conformance`: random ones, and the node tests that come with ONNX.

    python3 make_cases.py FOLDER [--cases N] [--seed N]

Needs the packages onnx, numpy and safetensors. Each case is FOLDER/OP/CASE.safetensors.
"""
import argparse
import warnings

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

from operator_case import NAMES, Case, name_of
from random_cases import MAKERS


def write_node_tests(folder):
    """Writes ONNX's own tests of single nodes."""
    for test in collect_testcases(None):
        nodes = test.model.graph.node if test.model is not None else []
        if len(nodes) != 1 or nodes[0].op_type not in NAMES:
            continue
        node = nodes[0]
        c = Case(np.random.default_rng(0), node.op_type, test.model.opset_import[0].version)
        c.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for name, value in c.attributes.items():
            if isinstance(value, bytes):
                c.attributes[name] = value.decode()
            elif isinstance(value, list):
                c.attributes[name] = [v.decode() if isinstance(v, bytes) else v for v in value]
        inputs, outputs = test.data_sets[0]
        for given, names, values, to in ((node.input, NAMES[c.op][0], inputs, c.inputs),
                                         (node.output, NAMES[c.op][1], outputs, c.outputs)):
            present = [i for i, n in enumerate(given) if n]
            to.update({name_of(names, i): np.asarray(v) for i, v in zip(present, values)})
        c.write(folder, test.name.removeprefix("test_"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--cases", type=int, default=60, help="random cases for each operator (60)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for number, (op, make) in enumerate(MAKERS.items()):
        for i in range(options.cases):
            make(np.random.default_rng([options.seed, number, i])).write(options.folder, f"random_{i}")
    write_node_tests(options.folder)


if __name__ == "__main__":
    main()
