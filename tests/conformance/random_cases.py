"""Random cases of each operator. Their sizes, attributes, inputs and types are drawn at random.

Expected outputs come from ONNX's reference evaluator in double. Those of the recurrent operators come from
recurrent_reference.py instead, because the evaluator ignores most of their attributes.
"""
import ml_dtypes
import numpy as np

import recurrent_reference
from operator_case import NAMES, Case, name_of

SIZES = [1, 2, 3, 5, 8, 17, 33, 50, 70, 300]


def attention_mask(c, batch, heads, queries, keys):
    """A mask of any rank, with dimensions of 1, of bool or float. From opset 24 on, it may have fewer keys."""
    if c.opset >= 24 and c.maybe(0.3):
        keys = max(c.inputs["nonpad_kv_seqlen"].max(initial=1) if "nonpad_kv_seqlen" in c.inputs else 1, keys * 2 // 3)
    shape = [c.pick([1, batch]), c.pick([1, heads]), c.pick([1, queries, queries]), keys][c.pick([0, 0, 1, 2, 3]):]
    allowed = (c.rng.random(shape) < 0.7) & (c.rng.random([*shape[:-1], 1]) < 0.9)  # some queries see nothing
    if c.maybe():
        return allowed
    lowest = max(float(ml_dtypes.finfo(c.dtype).min), float(np.finfo(np.float32).min))  # softmax_precision may be float
    hidden = c.pick([-np.inf, lowest, -3.0])
    return np.where(allowed, c.rng.normal(size=shape), hidden).astype(c.dtype)


def attention(rng):
    c = Case(rng, "Attention", int(rng.integers(23, 26)))
    batch, key_heads, group = (int(n) for n in rng.integers(1, 4, 3))
    heads, width, value_width = key_heads * group, c.pick([1, 3, 8, 16, 24]), c.pick([1, 2, 8, 10, 33])
    queries, keys = c.pick(SIZES), c.pick(SIZES)
    sizes = {"Q": (heads, queries, width), "K": (key_heads, keys, width), "V": (key_heads, keys, value_width)}
    flat = c.maybe()
    for name, (h, t, w) in sizes.items():
        c.inputs[name] = c.normal(batch, t, h * w) if flat else c.normal(batch, h, t, w)
    if flat:
        c.attributes.update(q_num_heads=heads, kv_num_heads=key_heads)
    outputs = ["Y"]
    cache = c.pick(["none", "past", "padding"])
    if cache == "past":
        past = c.pick([1, 2, 7, 40])
        c.inputs["past_key"] = c.normal(batch, key_heads, past, width)
        c.inputs["past_value"] = c.normal(batch, key_heads, past, value_width)
        keys += past
        outputs += ["present_key", "present_value"]
    elif cache == "padding" and c.opset >= 24:
        c.inputs["nonpad_kv_seqlen"] = rng.integers(0, keys + 1, batch)
    if c.maybe(0.6):
        mask = c.inputs["attn_mask"] = attention_mask(c, batch, heads, queries, keys)
        c.replaced["attn_mask"] = np.broadcast_to(mask, (batch, heads, queries, mask.shape[-1]))
    if c.maybe():
        c.attributes["is_causal"] = 1
    if c.maybe(0.3):
        c.attributes["scale"] = c.pick([0.0, 0.5, 1.0])
    if c.maybe(0.4):
        c.number("softcap", 0.5, 4)
    if c.maybe(0.2):
        c.attributes["softmax_precision"] = c.pick([1, 11])
    if c.opset >= 25 and c.maybe(0.7):
        c.attributes.update({f"{side}_window_size": int(rng.integers(-1, 6)) for side in ("left", "right")})
    mode = c.pick([None, 0, 1, 2, 3])
    if mode is not None:
        c.attributes["qk_matmul_output_mode"] = mode
    c.expect(outputs)
    if c.maybe(0.6):
        # The evaluator applies the soft cap even in mode 0.
        scores = c.evaluate(["Y", "", "", "s"], **({} if mode else {"softcap": None}))[-1]
        c.outputs["qk_matmul_output"] = scores.astype(c.dtype)
    return c


def rotary_embedding(rng):
    c = Case(rng, "RotaryEmbedding", 23)
    batch, heads, tokens, width = int(rng.integers(1, 4)), int(rng.integers(1, 4)), c.pick(SIZES), c.pick([2, 6, 8, 32])
    if c.maybe():
        c.inputs["X"] = c.normal(batch, heads, tokens, width)
    else:
        c.inputs["X"] = c.normal(batch, tokens, heads * width)
    if c.maybe() or c.inputs["X"].ndim == 3:
        c.attributes["num_heads"] = heads
    rotated = width
    if c.maybe():
        rotated = c.attributes["rotary_embedding_dim"] = c.pick([2, width // 2 * 2, max(2, width // 4 * 2)])
    if c.maybe():
        c.attributes["interleaved"] = int(rng.integers(2))
    rows = (80,) if c.maybe() else (batch, tokens)
    if len(rows) == 1:
        c.inputs["position_ids"] = rng.integers(0, rows[0], (batch, tokens))
    angles = rng.uniform(-4, 4, (*rows, rotated // 2))
    c.inputs["cos_cache"], c.inputs["sin_cache"] = np.cos(angles).astype(c.dtype), np.sin(angles).astype(c.dtype)
    c.expect(["Y"])
    return c


def random_shape(c, low=1, high=5):
    return tuple(int(n) for n in c.rng.integers(1, 7, c.rng.integers(low, high)))


def normalization(op, scale_name):
    def make(rng):
        c = Case(rng, op, 17 if op == "LayerNormalization" else 23)
        shape = random_shape(c)
        axis = int(rng.integers(-len(shape), len(shape)))
        c.inputs["X"] = c.normal(*shape)
        if axis != -1 or c.maybe():
            c.attributes["axis"] = axis

        def broadcastable():
            own = shape[axis:] if axis else shape
            kind = c.pick(["own", "own", "some", "leading"])
            if kind == "leading":
                own = shape
            return c.normal(*(own if kind == "own" else [c.pick([1, n]) for n in own]))

        c.inputs[scale_name] = broadcastable()
        outputs = ["Y"]
        if op == "LayerNormalization":
            if c.maybe():
                c.inputs["B"] = broadcastable()
            outputs += c.pick([[], ["Mean"], ["Mean", "InvStdDev"]])
        if c.maybe():
            c.number("epsilon", 0, 0.1)
        if c.maybe(0.3):
            c.attributes["stash_type"] = c.pick([1, 11])
        c.expect(outputs, stash_type=None)
        for name in outputs[1:]:
            c.outputs[name] = c.outputs[name].astype(np.float64 if c.attributes.get("stash_type") == 11 else np.float32)
        return c
    return make


def softmax(op):
    def make(rng):
        c = Case(rng, op, c_opset := int(rng.choice([1, 11, 13])))
        shape = random_shape(c, 2 if c_opset < 13 else 1)
        c.inputs["input"] = c.normal(*shape, scale=c.pick([1, 10]))
        axis = int(rng.integers(0 if c_opset == 1 else -len(shape), len(shape)))
        if c.maybe(0.8):
            c.attributes["axis"] = axis
        else:
            axis = 1 if c_opset < 13 else -1
        if c_opset >= 13:
            c.expect(["output"])
            return c
        # The evaluator has the meaning of opset 13 only.
        whole = c.inputs["input"]
        c.opset, c.inputs["input"] = 13, whole.reshape(int(np.prod(shape[:axis % len(shape)])), -1)
        c.expect(["output"], axis=-1)
        c.opset, c.inputs["input"] = c_opset, whole
        c.outputs["output"] = c.outputs["output"].reshape(shape)
        return c
    return make


def loss(op):
    scores, labels, weights = NAMES[op][0].split()

    def make(rng):
        c = Case(rng, op, 13)
        shape = random_shape(c, 2, 6)
        c.inputs[scores] = c.normal(*shape, scale=c.pick([1, 2, 30]))
        whole = rng.integers(0, shape[1], (shape[0], *shape[2:])).astype(c.pick([np.int32, np.int64]))
        if c.maybe():
            ignored = c.attributes["ignore_index"] = c.pick([0, -1, -100, 1000, shape[1] - 1])
            whole[rng.random(whole.shape) < 0.3] = ignored
            # The evaluator counts labels of -1, so it gets another number.
            c.replaced[labels] = np.where(whole == ignored, -7, whole)
        c.inputs[labels] = whole
        if c.maybe():
            c.inputs[weights] = rng.uniform(0.1, 2, shape[1]).astype(c.dtype)
        if c.maybe(0.8):
            c.attributes["reduction"] = c.pick(["none", "sum", "mean"])
        outputs = NAMES[op][1].split()
        changed = {"ignore_index": -7} if c.replaced else {}
        c.expect(outputs if c.maybe() else outputs[:1], **changed)
        return c
    return make


def gelu(rng):
    c = Case(rng, "Gelu", 20)
    c.inputs["X"] = c.normal(*random_shape(c, 0), scale=c.pick([0.1, 1, 10]))
    if c.maybe(0.7):
        c.attributes["approximate"] = c.pick(["none", "tanh"])
    c.expect(["Y"])
    return c


def adam(rng):
    whole = Case(rng, "Adam", 1)
    whole.dtype = whole.pick([np.float32, np.float64])
    whole.inputs["R"] = np.asarray(rng.uniform(1e-3, 0.5), whole.dtype).reshape(whole.pick([(), (1,)]))
    whole.inputs["T"] = np.asarray(whole.pick([0, 1, 2, 7, 100, 10**6]), np.int64)
    for name, low, high in [("alpha", 0, 0.99), ("beta", 0.5, 0.999), ("epsilon", 1e-6, 1e-2),
                            ("norm_coefficient", 0, 0.1), ("norm_coefficient_post", 0, 0.1)]:
        if whole.maybe():
            whole.number(name, low, high)
    if whole.maybe(0.1):
        whole.attributes["epsilon"] = 0.0
    shapes = [random_shape(whole) for _ in range(rng.integers(1, 5))]
    tensors = {n: [whole.normal(*s) for s in shapes] for n in "XGV"}
    tensors["H"] = [np.abs(whole.normal(*s)) for s in shapes]
    results = {n: [] for n in NAMES["Adam"][1].split()}
    for i in range(len(shapes)):
        one = Case(rng, "Adam", 1)
        one.attributes = whole.attributes
        one.inputs = {"R": whole.inputs["R"], "T": whole.inputs["T"], **{n: tensors[n][i] for n in tensors}}
        for name, values in zip(results, one.evaluate(list(results))):
            results[name].append(values.astype(whole.dtype))
    for i, values in enumerate(sum(tensors.values(), [])):
        whole.inputs[name_of(NAMES["Adam"][0], i + 2)] = values
    for i, values in enumerate(sum(results.values(), [])):
        whole.outputs[name_of(NAMES["Adam"][1], i)] = values.reshape(shapes[i % len(shapes)])
    return whole


def recurrent(op):
    def make(rng):
        outputs = NAMES[op][1].split()
        while True:
            c = Case(rng, op, 22)
            recurrent_reference.fill(c)
            results = recurrent_reference.run(c)
            # Some activations are unbounded. States that grow would show nothing but errors of rounding.
            if max(np.abs(v).max() for v in results.values()) < 5:
                break
        kept = [n for n in outputs if c.maybe(0.7)] or outputs
        c.outputs = {n: results[n].astype(c.dtype) for n in kept}
        return c
    return make


MAKERS = {
    "Attention": attention,
    "RotaryEmbedding": rotary_embedding,
    "LayerNormalization": normalization("LayerNormalization", "Scale"),
    "RMSNormalization": normalization("RMSNormalization", "scale"),
    "Gelu": gelu,
    "Adam": adam,
    **{op: softmax(op) for op in ("Softmax", "LogSoftmax")},
    **{op: loss(op) for op in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")},
    **{op: recurrent(op) for op in ("RNN", "GRU", "LSTM")},
}
