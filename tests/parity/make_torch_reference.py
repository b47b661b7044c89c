"""Writes torch_reference.safetensors beside this script: what PyTorch computes, for the parity tests to agree with.

To make it anew: Python 3.11, `pip install torch==2.13.0` (the CPU build), `ATEN_CPU_CAPABILITY=avx2 python3
make_torch_reference.py`. The seeds are fixed; another version of PyTorch, or other instructions, may change last digits.

Everything is computed in double precision, in training mode and without dropout. Inputs, parameters and cotangents are
drawn as halves, so that F16 stores them exactly in a quarter of the bytes; the rest is F64 unless said:
  CASE/input/NAME      what the layer is given, [tokens x features]
  CASE/parameter/NAME  the module's state dict; no parameter is left at torch's 0 or 1
  CASE/output/y        what the layer gives
  CASE/cotangent       random, of y's shape
  CASE/gradient/NAME   of sum(y * cotangent), for every input and every parameter, under the names above
  CASE/rows            I64, where the batch is ragged: the sequences' RowOffsets. Torch ran every sequence by itself.
  CASE/key_rows        I64, the same of the keys (or the memory) where those are another input
  CASE/mask            1 = may attend, 0 = may not, which is the opposite of torch's boolean masks. A row is a query, a
                       column the key's place within its sequence; columns past the end of a sequence are 1.
  CASE/labels          I64, the labels of the cross entropies; -100 is ignored

Width 12, 3 heads, feed-forward width 20, layer norm epsilon 1e-5, gelu by erf. pre is norm_first. Cases:
  mha_self, mha_self_causal        nn.MultiheadAttention on x, ragged
  mha_cross                        queries `query`, keys and values `memory`, ragged
  mha_cross_kdim                   `query`, `key` of width 7, `value` of width 9, one sequence
  mha_no_bias                      on x, one sequence
  mha_vdim_no_bias                 `query`, `key`, `value` of width 9, one sequence
  mha_mask, mha_mask_ragged        on x with a random mask in which every query sees something
  convolution_{same,causal}_KERNEL_DILATION  nn.Conv1d with 5 outputs on x of width 4, ragged
  convolution_no_bias              the same with padding "same", kernel 3 and dilation 1
  glu                              functional.glu of x [8 x 12]
  pool_{max,mean}_SIZE_STRIDE      functional.max_pool1d and avg_pool1d with ceil_mode on x, ragged
  encoder_{post,pre}_{relu,gelu}   nn.TransformerEncoderLayer on x, ragged
  decoder_{post,pre}_{relu,gelu}   nn.TransformerDecoderLayer on x (causal) and `memory`, ragged
  {encoder_post_relu,decoder_pre_gelu}_no_bias  the same with bias=False and layer norm epsilon 1e-3
  linear, linear_no_bias           nn.Linear with 5 outputs on x of width 4
  layer_norm, layer_norm_no_bias   nn.LayerNorm on x, epsilon 1e-3
  embedding, embedding_padding     nn.Embedding of the I64 `tokens`, 7 of width 4; padding_idx 2
  cross_entropy                    mean over the labels that count, of `logits` [7 x 11]; y and cotangent are [1 x 1]
  cross_entropy_smoothing          the same with label_smoothing 0.1
  cross_entropy_sum                the sum in place of the mean

Stacks of width 6, 2 heads, feed-forward width 7, layer norm epsilon 1e-3, ragged:
  encoder_stack_post_relu          nn.TransformerEncoder of two layers on x, without a final norm
  encoder_stack_pre_gelu           the same with a final norm and a causal mask
  decoder_stack_post_relu          nn.TransformerDecoder of two layers on x (causal) and `memory`, without a final norm
  transformer_post_relu            nn.Transformer with 2 and 1 layers on `source` and `target` (causal)
  transformer_pre_gelu_no_bias     the same with 1 and 2 layers and bias=False

Attention of `query` over the rows of `memory`, ragged, written out with torch's operations (Luong et al. 2015, equation
8; Bahdanau et al. 2015). dot and scaled_dot at width 12, the others with a memory of width 7, additive with 9 units:
  global_attention_{dot,general,scaled_dot,additive}

Two layers of width 5 on x of width 4, as packed sequences, from each layer's state `initial0` and `initial1`; y is the
output's rows and then, layer by layer, those of the last h and of the last c:
  {rnn,rnn_relu,gru,lstm}, {..}_bidirectional
  gru_no_bias                      one layer
  lstm_bidirectional_no_bias       three layers of width 3
"""

import json
import pathlib
import struct
import zlib

import torch
from torch import nn

WIDTH, HEADS, FEED_FORWARD = 12, 3, 20
STACK = {"d_model": 6, "nhead": 2, "dim_feedforward": 7, "layer_norm_eps": 1e-3}
LENGTHS, KEY_LENGTHS = [5, 3], [4, 6]

tensors = {}


def begin(case):
    """Every case has its own seed, so that a new one leaves the others as they are."""
    torch.manual_seed(zlib.crc32(case.encode()))


def as_half(numbers):
    return numbers.half().double()


def random(rows, columns):
    return as_half(torch.randn(rows, columns)).requires_grad_()


def randomise(module):
    """Weights such that sums have about the size of their terms, biases and gains other than 0 and 1."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_()
            if parameter.dim() >= 2:
                parameter /= parameter.shape[1:].numel() ** 0.5
            else:
                parameter *= 0.3
                if ("norm" in name or isinstance(module, nn.LayerNorm)) and name.endswith("weight"):
                    parameter += 1
            parameter.copy_(as_half(parameter))
    return module


def causal(length):
    return torch.ones(length, length).triu(1).bool()


def attention(**options):
    return randomise(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.double, **options))


def layer(kind, place, activation, **options):
    options = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": FEED_FORWARD, **options}
    return randomise(kind(dropout=0.0, activation=activation, norm_first=place == "pre", batch_first=True,
                          dtype=torch.double, **options))


def store(case, module, inputs, y):
    cotangent = as_half(torch.randn_like(y))
    (y * cotangent).sum().backward()
    for name, value in inputs.items():
        tensors[f"{case}/input/{name}"] = value
        tensors[f"{case}/gradient/{name}"] = value.grad
    for name, value in module.state_dict().items() if module else []:
        tensors[f"{case}/parameter/{name}"] = value
        tensors[f"{case}/gradient/{name}"] = module.get_parameter(name).grad
    tensors[f"{case}/output/y"] = y
    tensors[f"{case}/cotangent"] = cotangent


def store_ragged(case, module, inputs, run):
    """inputs: name -> (matrix, lengths); run gets each sequence's rows and gives its y."""
    pieces = [matrix.split(lengths) for matrix, lengths in inputs.values()]
    y = torch.cat([run(*(piece.unsqueeze(0) for piece in sequence)).squeeze(0) for sequence in zip(*pieces)])
    store(case, module, {name: matrix for name, (matrix, _) in inputs.items()}, y)
    for name, (_, lengths) in inputs.items():
        if len(lengths) > 1:
            offsets = torch.tensor([0] + lengths).cumsum(0)
            tensors[f"{case}/{'rows' if name in ('x', 'query', 'target') else 'key_rows'}"] = offsets


def mha_self(case, lengths, is_causal=False, **options):
    begin(case)
    attend = attention(**options)
    store_ragged(case, attend, {"x": (random(sum(lengths), WIDTH), lengths)},
                 lambda x: attend(x, x, x, attn_mask=causal(x.shape[1]) if is_causal else None)[0])


def mha_cross():
    begin("mha_cross")
    attend = attention()
    store_ragged("mha_cross", attend, {"query": (random(sum(LENGTHS), WIDTH), LENGTHS),
                                       "memory": (random(sum(KEY_LENGTHS), WIDTH), KEY_LENGTHS)},
                 lambda query, memory: attend(query, memory, memory)[0])


def mha_widths(case, key_width, **options):
    begin(case)
    attend = attention(vdim=9, **options)
    store_ragged(case, attend, {"query": (random(5, WIDTH), [5]), "key": (random(4, key_width), [4]),
                                "value": (random(4, 9), [4])},
                 lambda query, key, value: attend(query, key, value)[0])


def mha_mask(case, lengths):
    begin(case)
    attend = attention()
    mask = torch.rand(sum(lengths), max(lengths)) < 0.5
    for row, length in enumerate(length for length in lengths for _ in range(length)):
        mask[row, torch.randint(length, ())] = True
        mask[row, length:] = True
    of_sequences = iter(mask.split(lengths))
    store_ragged(case, attend, {"x": (random(sum(lengths), WIDTH), lengths)},
                 lambda x: attend(x, x, x, attn_mask=~next(of_sequences)[:, :x.shape[1]])[0])
    tensors[f"{case}/mask"] = mask.double()


class Convolution(nn.Conv1d):
    """nn.Conv1d over rows."""

    def __init__(self, padding, kernel, dilation, bias):
        super().__init__(4, 5, kernel, padding="same" if padding == "same" else 0, dilation=dilation, bias=bias,
                         dtype=torch.double)
        self.before = (kernel - 1) * dilation if padding == "causal" else 0

    def forward(self, x):
        return super().forward(nn.functional.pad(x.transpose(1, 2), (self.before, 0))).transpose(1, 2)


def convolution(case, padding, kernel, dilation, bias=True):
    begin(case)
    module = randomise(Convolution(padding, kernel, dilation, bias))
    store_ragged(case, module, {"x": (random(sum(LENGTHS), 4), LENGTHS)}, module)


def glu():
    begin("glu")
    x = random(8, WIDTH)
    store("glu", None, {"x": x}, nn.functional.glu(x))


def pool(kind, size, stride):
    case = f"pool_{kind}_{size}_{stride}"
    begin(case)
    function = nn.functional.max_pool1d if kind == "max" else nn.functional.avg_pool1d
    store_ragged(case, None, {"x": (random(sum(LENGTHS), WIDTH), LENGTHS)},
                 lambda x: function(x.transpose(1, 2), size, stride, ceil_mode=True).transpose(1, 2))


def encoder(place, activation, suffix="", **options):
    case = f"encoder_{place}_{activation}{suffix}"
    begin(case)
    module = layer(nn.TransformerEncoderLayer, place, activation, **options)
    store_ragged(case, module, {"x": (random(sum(LENGTHS), WIDTH), LENGTHS)}, module)


def decoder(place, activation, suffix="", **options):
    case = f"decoder_{place}_{activation}{suffix}"
    begin(case)
    module = layer(nn.TransformerDecoderLayer, place, activation, **options)
    store_ragged(case, module, {"x": (random(sum(LENGTHS), WIDTH), LENGTHS),
                                "memory": (random(sum(KEY_LENGTHS), WIDTH), KEY_LENGTHS)},
                 lambda x, memory: module(x, memory, tgt_mask=causal(x.shape[1])))


def encoder_stack(place, activation):
    case = f"encoder_stack_{place}_{activation}"
    begin(case)
    norm = nn.LayerNorm(STACK["d_model"], STACK["layer_norm_eps"], dtype=torch.double) if place == "pre" else None
    module = nn.TransformerEncoder(layer(nn.TransformerEncoderLayer, place, activation, **STACK), 2, norm=norm,
                                   enable_nested_tensor=False)
    randomise(module)
    store_ragged(case, module, {"x": (random(sum(LENGTHS), STACK["d_model"]), LENGTHS)},
                 lambda x: module(x, mask=causal(x.shape[1]) if place == "pre" else None))


def decoder_stack(place, activation):
    case = f"decoder_stack_{place}_{activation}"
    begin(case)
    module = nn.TransformerDecoder(layer(nn.TransformerDecoderLayer, place, activation, **STACK), 2)
    randomise(module)
    store_ragged(case, module, {"x": (random(sum(LENGTHS), STACK["d_model"]), LENGTHS),
                                "memory": (random(sum(KEY_LENGTHS), STACK["d_model"]), KEY_LENGTHS)},
                 lambda x, memory: module(x, memory, tgt_mask=causal(x.shape[1])))


def transformer(case, place, activation, layers, **options):
    begin(case)
    module = layer(nn.Transformer, place, activation, num_encoder_layers=layers[0], num_decoder_layers=layers[1],
                   **STACK, **options)
    store_ragged(case, module, {"source": (random(sum(KEY_LENGTHS), STACK["d_model"]), KEY_LENGTHS),
                                "target": (random(sum(LENGTHS), STACK["d_model"]), LENGTHS)},
                 lambda source, target: module(source, target, tgt_mask=causal(target.shape[1])))


def rowwise(case, module, width):
    begin(case)
    randomise(module)
    x = random(6, width)
    store(case, module, {"x": x}, module(x))


def embedding(case, **options):
    begin(case)
    module = randomise(nn.Embedding(7, 4, dtype=torch.double, **options))
    tokens = torch.tensor([3, 2, 0, 3, 6, 2])
    store(case, module, {}, module(tokens))
    tensors[f"{case}/tokens"] = tokens


def cross_entropy(case, **options):
    begin(case)
    logits = random(7, 11)
    labels = torch.randint(11, (7,))
    labels[4] = -100
    loss = nn.functional.cross_entropy(logits, labels, **options)
    store(case, None, {"logits": logits}, loss.reshape(1, 1))
    tensors[f"{case}/labels"] = labels


def stored(name, tensor):
    """The type under which a tensor is stored, and its bytes."""
    drawn = any(part in name for part in ("/input/", "/parameter/", "/cotangent"))
    dtype, code = ("I64", "q") if tensor.dtype == torch.int64 else ("F16", "e") if drawn else ("F64", "d")
    numbers = tensor.detach().flatten().tolist()
    data = struct.pack(f"<{len(numbers)}{code}", *numbers)
    assert struct.unpack(f"<{len(numbers)}{code}", data) == tuple(numbers), name
    return dtype, data


def write_safetensors(path):
    header, buffer = {}, b""
    pieces = {name: stored(name, tensor) for name, tensor in tensors.items()}
    for name in sorted(pieces, key=lambda name: pieces[name][0] == "F16"):  # eight-byte numbers first, to be aligned
        dtype, data = pieces[name]
        header[name] = {"dtype": dtype, "shape": list(tensors[name].shape),
                        "data_offsets": [len(buffer), len(buffer) + len(data)]}
        buffer += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + buffer)


mha_self("mha_self", LENGTHS)
mha_self("mha_self_causal", LENGTHS, is_causal=True)
mha_self("mha_no_bias", [5], bias=False)
mha_cross()
mha_widths("mha_cross_kdim", 7, kdim=7)
mha_widths("mha_vdim_no_bias", WIDTH, bias=False)
mha_mask("mha_mask", [5])
mha_mask("mha_mask_ragged", LENGTHS)
for padding in ("same", "causal"):
    for kernel, dilation in ((3, 1), (4, 1), (3, 2), (2, 3)):
        convolution(f"convolution_{padding}_{kernel}_{dilation}", padding, kernel, dilation)
convolution("convolution_no_bias", "same", 3, 1, bias=False)
glu()
for kind in ("max", "mean"):
    for size, stride in ((2, 2), (3, 1), (3, 2)):
        pool(kind, size, stride)
for place in ("post", "pre"):
    for activation in ("relu", "gelu"):
        encoder(place, activation)
        decoder(place, activation)
encoder("post", "relu", "_no_bias", bias=False, layer_norm_eps=1e-3)
decoder("pre", "gelu", "_no_bias", bias=False, layer_norm_eps=1e-3)
encoder_stack("post", "relu")
encoder_stack("pre", "gelu")
decoder_stack("post", "relu")
transformer("transformer_post_relu", "post", "relu", (2, 1))
transformer("transformer_pre_gelu_no_bias", "pre", "gelu", (1, 2), bias=False)
for suffix, bias in (("", True), ("_no_bias", False)):
    rowwise(f"linear{suffix}", nn.Linear(4, 5, bias=bias, dtype=torch.double), 4)
    rowwise(f"layer_norm{suffix}", nn.LayerNorm(WIDTH, 1e-3, bias=bias, dtype=torch.double), WIDTH)
embedding("embedding")
embedding("embedding_padding", padding_idx=2)
cross_entropy("cross_entropy", ignore_index=-100)
cross_entropy("cross_entropy_smoothing", label_smoothing=0.1)
cross_entropy("cross_entropy_sum", reduction="sum")


class GlobalAttention(nn.Module):
    def __init__(self, score, memory_width, units):
        super().__init__()
        self.score = score
        if score == "general":
            self.query = nn.Linear(WIDTH, memory_width, bias=False, dtype=torch.double)
        if score == "additive":
            self.query = nn.Linear(WIDTH, units, dtype=torch.double)
            self.key = nn.Linear(memory_width, units, bias=False, dtype=torch.double)
            self.v = nn.Parameter(torch.empty(1, units, dtype=torch.double))

    def forward(self, query, memory):
        if self.score == "additive":
            hidden = self.query(query).unsqueeze(-2) + self.key(memory).unsqueeze(-3)
            scores = (self.v * torch.tanh(hidden)).sum(-1)
        else:
            states = self.query(query) if self.score == "general" else query
            scores = states @ memory.transpose(-1, -2)
            if self.score == "scaled_dot":
                scores = scores / memory.shape[-1] ** 0.5
        return torch.softmax(scores, -1) @ memory


def global_attention(score):
    case = f"global_attention_{score}"
    begin(case)
    memory_width = 7 if score in ("general", "additive") else WIDTH
    attend = randomise(GlobalAttention(score, memory_width, units=9))
    store_ragged(case, attend, {"query": (random(sum(LENGTHS), WIDTH), LENGTHS),
                                "memory": (random(sum(KEY_LENGTHS), memory_width), KEY_LENGTHS)}, attend)


for score in ("dot", "general", "scaled_dot", "additive"):
    global_attention(score)


def recurrent(kind, bidirectional, suffix="", hidden=5, layers=2, **options):
    case = f"{kind}{'_bidirectional' if bidirectional else ''}{suffix}"
    begin(case)
    lengths, directions = [3, 6, 4], 2 if bidirectional else 1
    if kind == "rnn_relu":
        options["nonlinearity"] = "relu"
    kind_of = {"rnn": nn.RNN, "rnn_relu": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind]
    module = randomise(kind_of(4, hidden, num_layers=layers, bidirectional=bidirectional, dtype=torch.double,
                               **options))
    states = 2 if kind == "lstm" else 1
    x = random(sum(lengths), 4)
    # A layer's state has h of both directions, and then c of both.
    initial = [random(len(lengths), states * directions * hidden) for _ in range(layers)]
    parts = [layer.unflatten(1, (states, directions, hidden)) for layer in initial]
    before = [torch.cat([part[:, state].transpose(0, 1) for part in parts]) for state in range(states)]
    packed = nn.utils.rnn.pack_sequence(x.split(lengths), enforce_sorted=False)
    y, after = module(packed, tuple(before) if states == 2 else before[0])
    rows = [torch.cat(nn.utils.rnn.unpack_sequence(y))]
    for layer in range(layers):
        for state in after if states == 2 else [after]:
            rows.append(torch.cat([*state[layer * directions:(layer + 1) * directions]], dim=1))
    store(case, module, {"x": x, **{f"initial{i}": layer for i, layer in enumerate(initial)}}, torch.cat(rows))
    tensors[f"{case}/rows"] = torch.tensor([0] + lengths).cumsum(0)


for kind in ("rnn", "rnn_relu", "gru", "lstm"):
    for bidirectional in (False, True):
        recurrent(kind, bidirectional)
recurrent("gru", False, "_no_bias", layers=1, bias=False)
recurrent("lstm", True, "_no_bias", hidden=3, layers=3, bias=False)
write_safetensors(pathlib.Path(__file__).with_name("torch_reference.safetensors"))
