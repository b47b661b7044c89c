"""One case of an operator of ONNX: its inputs, attributes and expected outputs, and the file that holds them."""
import json
import pathlib

import ml_dtypes
import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

# The inputs and outputs of each operator.
NAMES = {
    "Attention": ("Q K V attn_mask past_key past_value nonpad_kv_seqlen",
                  "Y present_key present_value qk_matmul_output"),
    "RotaryEmbedding": ("X cos_cache sin_cache position_ids", "Y"),
    "LayerNormalization": ("X Scale B", "Y Mean InvStdDev"),
    "RMSNormalization": ("X scale", "Y"),
    "Softmax": ("input", "output"),
    "LogSoftmax": ("input", "output"),
    "SoftmaxCrossEntropyLoss": ("scores labels weights", "output log_prob"),
    "NegativeLogLikelihoodLoss": ("input target weight", "loss"),
    "Gelu": ("X", "Y"),
    "RNN": ("X W R B sequence_lens initial_h", "Y Y_h"),
    "GRU": ("X W R B sequence_lens initial_h", "Y Y_h"),
    "LSTM": ("X W R B sequence_lens initial_h initial_c P", "Y Y_h Y_c"),
    "Adam": ("R T X G V H", "X_new V_new H_new"),
}
DTYPES = [np.float32, np.float32, np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def name_of(names, i):
    """Returns the name of tensor i. Adam has any number of tensors; those without a name are named by their place."""
    names = names.split()
    return names[i] if i < len(names) else f"x{i}"


class Case:
    """The inputs, attributes and expected outputs of one call of an operator."""

    def __init__(self, rng, op, opset):
        self.rng, self.op, self.opset = rng, op, opset
        self.dtype = DTYPES[rng.integers(len(DTYPES))]
        self.inputs, self.outputs, self.attributes = {}, {}, {}
        self.replaced = {}  # inputs that the evaluator gets instead, because it cannot read those of the case

    def maybe(self, chance=0.5):
        return self.rng.random() < chance

    def pick(self, choices):
        return choices[self.rng.integers(len(choices))]

    def normal(self, *shape, scale=1.0):
        return np.asarray(self.rng.normal(size=shape) * scale).astype(self.dtype)

    def number(self, name, low, high):
        """Sets an attribute that is a float."""
        self.attributes[name] = float(np.float32(self.rng.uniform(low, high)))

    def evaluate(self, outputs, **changed):
        """Returns the outputs by the reference evaluator, in double. A changed attribute that is None is left out."""
        given = {**self.inputs, **self.replaced}
        wide = {k: v.astype(np.float64) if v.dtype in DTYPES else v for k, v in given.items()}
        names = NAMES[self.op][0].split()
        while names[-1] not in wide:
            names.pop()
        attributes = {k: v for k, v in {**self.attributes, **changed}.items() if v is not None}
        domain = "ai.onnx.preview.training" if self.op == "Adam" else ""
        node = onnx.helper.make_node(
            self.op, [n if n in wide else "" for n in names], outputs, domain=domain, **attributes)
        graph = onnx.helper.make_graph(
            [node], "case",
            [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
             for n, v in wide.items()],
            [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.DOUBLE, None) for n in outputs])
        opsets = [onnx.helper.make_opsetid(domain, self.opset)]
        return ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(None, wide)

    def expect(self, outputs, **changed):
        """Takes the expected outputs from the reference evaluator."""
        for name, values in zip(outputs, self.evaluate(outputs, **changed)):
            self.outputs[name] = np.asarray(values).astype(self.dtype)

    def write(self, folder, name):
        tensors = {f"input.{k}": v for k, v in self.inputs.items()}
        tensors.update({f"output.{k}": v for k, v in self.outputs.items()})
        path = pathlib.Path(folder) / self.op / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(v).reshape(v.shape) for k, v in tensors.items()}, path,
                  {"op": self.op, "opset": str(self.opset), "attributes": json.dumps(self.attributes)})
