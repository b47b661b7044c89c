"""The libraries that compare.py compares with ours. They use one thread; training uses as many as it is told. Each
function returns a function without arguments that computes once. Importing this file needs none of the libraries;
calling its functions does."""
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


def pytorch_linear(rows, width, dtype):
    """Returns a call of PyTorch's linear layer with a [width x width] weight, without a bias. dtype: the name of the
    type of x and the weight, such as bfloat16."""
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.Linear(width, width, bias=False).to(getattr(torch, dtype))
    x = torch.randn(rows, width).to(getattr(torch, dtype))

    def call():
        with torch.no_grad():
            layer(x)

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


def multi30k_lengths(target_tokens):
    """Returns the lengths of sentence pairs with this number of target tokens, distributed as in training_bench."""
    generator = numpy.random.default_rng(1)
    limited = lambda length: int(min(40, max(4, round(length))))
    sources, targets = [], []
    while (left := target_tokens - sum(targets)) > 0:
        length = 14 + 5 * generator.standard_normal()
        targets.append(min(limited(length) + 1, left))
        sources.append(limited(length + 2 * generator.standard_normal()) + 1)
    return sources, targets


def pytorch_training_step(width, threads, dtype):
    """One update as in training_bench: forward, backward, clipping and Adam, on padded sentences. dtype: float32, or
    bfloat16 for autocast."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    vocabulary_size, heads = 8000, 8 if width == 512 else 4
    embedding = torch.nn.Embedding(vocabulary_size, width)
    model = torch.nn.Transformer(width, heads, 4, 4, 4 * width, batch_first=True)
    parameters = [*embedding.parameters(), *model.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-4, betas=(0.9, 0.98))
    sources, targets = (torch.tensor(lengths) for lengths in multi30k_lengths(4096))
    source, target, labels = (torch.randint(3, vocabulary_size, (len(lengths), int(lengths.max())))
                              for lengths in (sources, targets, targets))
    source_padding, target_padding = (torch.arange(int(lengths.max())) >= lengths[:, None]
                                      for lengths in (sources, targets))
    labels[target_padding] = -100  # cross_entropy ignores them
    causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)

    def loss():
        decoded = model(embedding(source) * width**0.5, embedding(target) * width**0.5, tgt_mask=causal,
                        src_key_padding_mask=source_padding, tgt_key_padding_mask=target_padding,
                        memory_key_padding_mask=source_padding)
        logits = functional.linear(decoded, embedding.weight)
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)

    def call():
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            of_batch = loss()
        of_batch.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1)
        adam.step()

    return call


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
