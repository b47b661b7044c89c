#!/usr/bin/env python3
"""Converts a model folder of this library to CTranslate2's format, with the same weights.

    pip install ctranslate2 numpy
    bench/export_ctranslate2.py model/ converted/ --quantization int8

Converts Transformers as in the paper, with sinusoidal or learned positions, with norms before or after each sublayer;
refuses other models. Takes the tokens of the vocabulary files as they are.
"""
import argparse
import json
import pathlib
import struct

import numpy

SUPPORTED = {"positions": ("sinusoidal", "learned"), "activation": ("relu", "gelu"), "layer_norm_eps": (1e-5,),
             "residual": (True,), "final_norm": ("with_norm_first",), "sinks": (False,),
             "qk_norm": ("none",), "encoder_scores": ([],), "decoder_scores": ([],), "memory_scores": ([],)}


def read_safetensors(path):
    """Returns {name: float32 array}."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is of type {entry['dtype']}, expected F32")
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(data[begin:end], numpy.float32).reshape(entry["shape"])
    return tensors


def sinusoids(positions, width):
    """Returns the encodings of section 3.5 of Vaswani et al. 2017: sine and cosine alternate."""
    angles = numpy.arange(positions)[:, None] / 10000 ** (numpy.arange(0, width, 2) / width)
    return numpy.stack([numpy.sin(angles), numpy.cos(angles)], axis=-1).reshape(positions, width).astype(numpy.float32)


class Exporter:
    """Copies the parameters of a model folder into specifications of CTranslate2's layers."""

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.options = config["options"]
        if config["model_type"] != "transformer":
            raise SystemExit(f"{folder}: is a {config['model_type']}, expected a transformer")
        for name, allowed in SUPPORTED.items():
            if name in self.options and self.options[name] not in allowed:
                raise SystemExit(f"{folder}: {name} is {self.options[name]}, expected one of {allowed}")
        heads, width = self.options["heads"], self.options["width"]
        if self.options["key_heads"] not in (0, heads) or self.options["head_width"] not in (0, width // heads):
            raise SystemExit(f"{folder}: key_heads is {self.options['key_heads']}, head_width "
                             f"{self.options['head_width']}, expected those of {heads} heads of one width")
        self.tensors = read_safetensors(folder / "model.safetensors")

    def linear(self, spec, *names):
        """Gives a layer the weights and biases of the named layers, stacked."""
        spec.weight = numpy.concatenate([self.tensors[f"{name}.weight"] for name in names])
        if f"{names[0]}.bias" in self.tensors:
            spec.bias = numpy.concatenate([self.tensors[f"{name}.bias"].ravel() for name in names])

    def norm(self, spec, name):
        spec.gamma = self.tensors[f"{name}.weight"].ravel()
        bias = self.tensors.get(f"{name}.bias")
        spec.beta = numpy.zeros_like(spec.gamma) if bias is None else bias.ravel()

    def feed_forward(self, spec, layer, norm):
        self.linear(spec.linear_0, f"{layer}.linear1")
        self.linear(spec.linear_1, f"{layer}.linear2")
        self.norm(spec.layer_norm, f"{layer}.{norm}")

    def self_attention(self, spec, layer):
        self.linear(spec.linear[0], *(f"{layer}.self_attn.{part}" for part in "qkv"))
        self.linear(spec.linear[1], f"{layer}.self_attn.out_proj")
        self.norm(spec.layer_norm, f"{layer}.norm1")

    def memory_attention(self, spec, layer):
        self.linear(spec.linear[0], f"{layer}.multihead_attn.q")
        self.linear(spec.linear[1], f"{layer}.multihead_attn.k", f"{layer}.multihead_attn.v")
        self.linear(spec.linear[2], f"{layer}.multihead_attn.out_proj")
        self.norm(spec.layer_norm, f"{layer}.norm2")

    def embeddings(self, stack, embeddings, name):
        embeddings.weight = self.tensors[f"{name}.weight"]
        embeddings.multiply_by_sqrt_depth = True
        positions = self.tensors.get("positions.weight")
        stack.position_encodings.encodings = (
            sinusoids(self.options["max_length"], embeddings.weight.shape[1]) if positions is None else positions)

    def spec(self):
        """Returns the model as a CTranslate2 specification, without vocabularies."""
        import ctranslate2

        norm_first = self.options["norm_first"]
        activation = ctranslate2.specs.Activation
        spec = ctranslate2.specs.TransformerSpec.from_config(
            (self.options["num_encoder_layers"], self.options["num_decoder_layers"]), self.options["heads"],
            pre_norm=norm_first,
            activation=activation.RELU if self.options["activation"] == "relu" else activation.GELU)
        target = "target_embedding" if "target_embedding.weight" in self.tensors else "source_embedding"
        self.embeddings(spec.encoder, spec.encoder.embeddings[0], "source_embedding")
        self.embeddings(spec.decoder, spec.decoder.embeddings, target)
        self.linear(spec.decoder.projection, "generator" if "generator.weight" in self.tensors else target)
        for i, layer in enumerate(spec.encoder.layer):
            self.self_attention(layer.self_attention, f"encoder.layers.{i}")
            self.feed_forward(layer.ffn, f"encoder.layers.{i}", "norm2")
        for i, layer in enumerate(spec.decoder.layer):
            self.self_attention(layer.self_attention, f"decoder.layers.{i}")
            self.memory_attention(layer.attention, f"decoder.layers.{i}")
            self.feed_forward(layer.ffn, f"decoder.layers.{i}", "norm3")
        if norm_first:
            self.norm(spec.encoder.layer_norm, "encoder.norm")
            self.norm(spec.decoder.layer_norm, "decoder.norm")
        return spec


def vocabulary(folder, side, size):
    """Returns the tokens of a side. A folder without vocabularies gets numbers as tokens."""
    path = folder / f"{side}_vocabulary.txt"
    if path.exists():
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return ["<unk>", "<s>", "</s>", *map(str, range(3, size))]


def export(folder, converted, quantization=None):
    """Writes the model of `folder` to the folder `converted`. quantization: None, int8 or another of CTranslate2's."""
    spec = Exporter(folder).spec()
    spec.register_source_vocabulary(vocabulary(folder, "source", spec.encoder.embeddings[0].weight.shape[0]))
    spec.register_target_vocabulary(vocabulary(folder, "target", spec.decoder.embeddings.weight.shape[0]))
    spec.validate()
    spec.optimize(quantization=quantization)
    converted.mkdir(parents=True, exist_ok=True)
    spec.save(str(converted))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("converted", type=pathlib.Path)
    parser.add_argument("--quantization")
    arguments = parser.parse_args()
    export(arguments.model, arguments.converted, arguments.quantization)


if __name__ == "__main__":
    main()
