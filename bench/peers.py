"""The libraries that compare.py compares with ours, each on one thread. The functions for attention and decoding return
a function without arguments that computes once. Importing this file needs none of the libraries; calling its functions
does."""
import numpy


def random_operands(n, d):
    generator = numpy.random.default_rng(1)
    return [generator.standard_normal((n, d), dtype=numpy.float32) for _ in range(3)]


def pytorch_attention(n, d, causal, dtype):
    """Returns a call of PyTorch's attention. dtype: the name of its type, such as bfloat16."""
    import torch

    torch.set_num_threads(1)
    q, k, v = (torch.from_numpy(x).to(getattr(torch, dtype)).reshape(1, 1, n, d) for x in random_operands(n, d))

    def call():
        with torch.no_grad():
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return call


def onnx_runtime_attention(n, d, causal):
    import onnx
    import onnxruntime

    names, shape = ["Q", "K", "V"], [1, 1, n, d]
    make = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Attention", names, ["Y"], is_causal=int(causal))
    graph = onnx.helper.make_graph([node], "attention", [make(x, onnx.TensorProto.FLOAT, shape) for x in names],
                                   [make("Y", onnx.TensorProto.FLOAT, shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=11)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {name: x.reshape(shape) for name, x in zip(names, random_operands(n, d))}
    return lambda: session.run(None, inputs)


def ctranslate2_translator(folder, compute_type):
    import ctranslate2

    return ctranslate2.Translator(str(folder), device="cpu", compute_type=compute_type, inter_threads=1,
                                  intra_threads=1)


def ctranslate2_decoding(translator, sentences, beam_size, length):
    """Returns a call that translates the sentences. It returns the tokens of the best translation of each. All have the
    same length."""

    def call():
        results = translator.translate_batch(sentences, beam_size=beam_size, max_batch_size=len(sentences),
                                             min_decoding_length=length, max_decoding_length=length)
        return [result.hypotheses[0] for result in results]

    return call
