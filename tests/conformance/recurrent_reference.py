"""ONNX's RNN, GRU and LSTM in double, straight from the equations in the operators' documentation."""
import numpy as np

# Each activation: its function, and the defaults of alpha and beta, or None if it does not take them.
ACTIVATIONS = {
    "Relu": (lambda x, a, b: np.maximum(x, 0), None, None),
    "Tanh": (lambda x, a, b: np.tanh(x), None, None),
    "Sigmoid": (lambda x, a, b: 1 / (1 + np.exp(-x)), None, None),
    "Affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "LeakyRelu": (lambda x, a, b: np.where(x >= 0, x, a * x), 0.01, None),
    "ThresholdedRelu": (lambda x, a, b: np.where(x >= a, x, 0), 1.0, None),
    "ScaledTanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "HardSigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "Elu": (lambda x, a, b: np.where(x >= 0, x, a * np.expm1(x)), 1.0, None),
    "Softsign": (lambda x, a, b: x / (1 + np.abs(x)), None, None),
    "Softplus": (lambda x, a, b: np.log1p(np.exp(x)), None, None),
}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def numbers(c, names, which, place):
    """activation_alpha or activation_beta of each activation. A list with a number for each activation is read by
    place; a shorter one by those activations that take a number."""
    given = list(c.attributes.get(which, []))
    result = []
    by_place = len(given) == len(names)
    for i, name in enumerate(names):
        default = ACTIVATIONS[name][place]
        default = None if default is None else float(np.float32(default))
        if by_place:
            result.append(given[i])
        elif default is not None and given:
            result.append(given.pop(0))
        else:
            result.append(default)
    return result


def fill(c):
    """Draws the inputs and attributes of a case."""
    rng, op = c.rng, c.op
    steps, batch, inputs, hidden = (int(n) for n in (*rng.integers(1, 7, 2), *rng.integers(1, 20, 2)))
    direction = c.pick(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    if direction != "forward" or c.maybe():
        c.attributes["direction"] = direction
    if c.maybe(0.7):
        c.attributes["hidden_size"] = hidden
    if c.maybe():
        c.attributes["layout"] = int(rng.integers(2))
    first = c.attributes.get("layout", 0)
    gates = GATES[op] * hidden
    c.inputs["X"] = c.normal(batch, steps, inputs) if first else c.normal(steps, batch, inputs)
    c.inputs["W"] = c.normal(directions, gates, inputs, scale=0.4)
    c.inputs["R"] = c.normal(directions, gates, hidden, scale=0.3)
    if c.maybe():
        c.inputs["B"] = c.normal(directions, 2 * gates, scale=0.5)
    if c.maybe():
        c.inputs["sequence_lens"] = rng.integers(0 if c.maybe(0.2) else 1, steps + 1, batch).astype(np.int32)
    for state in ("initial_h", "initial_c") if op == "LSTM" else ("initial_h",):
        if c.maybe():
            c.inputs[state] = c.normal(*((batch, directions) if first else (directions, batch)), hidden)
    if op == "LSTM" and c.maybe():
        c.inputs["P"] = c.normal(directions, 3 * hidden)
    if op == "LSTM" and c.maybe(0.3):
        c.attributes["input_forget"] = int(rng.integers(2))
    if op == "GRU" and c.maybe():
        c.attributes["linear_before_reset"] = int(rng.integers(2))
    if c.maybe(0.4):
        c.number("clip", 0.2, 1.5)
    if c.maybe(0.6):
        fill_activations(c, len(USUAL[op]) * directions)


def fill_activations(c, count):
    names = c.attributes["activations"] = [c.pick(list(ACTIVATIONS)) for _ in range(count)]
    if c.maybe(0.2):
        c.attributes["activations"] = [n.lower() if c.maybe() else n for n in names]
    for which, place in (("activation_alpha", 1), ("activation_beta", 2)):
        taken = sum(ACTIVATIONS[n][place] is not None for n in names)
        length = c.pick([0, count, taken])
        if length:
            c.attributes[which] = [float(np.float32(c.rng.uniform(0.1, 1.2))) for _ in range(length)]


class Cell:
    """The function of one direction."""

    def __init__(self, c, direction, w, r, bias, peepholes):
        names = [{n.lower(): n for n in ACTIVATIONS}[n.lower()] for n in c.attributes.get("activations", [])]
        directions = c.inputs["W"].shape[0]
        names = names or USUAL[c.op] * directions
        alphas, betas = numbers(c, names, "activation_alpha", 1), numbers(c, names, "activation_beta", 2)
        count = len(USUAL[c.op])
        own = slice(direction * count, (direction + 1) * count)
        self.functions = list(zip(names[own], alphas[own], betas[own]))
        self.op, self.attributes = c.op, c.attributes
        self.w, self.r = np.split(w, GATES[c.op]), np.split(r, GATES[c.op])
        self.wb, self.rb = (np.split(b, GATES[c.op]) for b in np.split(bias, 2))
        self.peepholes = np.split(peepholes, 3)

    def activation(self, number, x):
        limit = self.attributes.get("clip", np.inf)
        name, alpha, beta = self.functions[number]
        return ACTIVATIONS[name][0](np.clip(x, -limit, limit), alpha, beta)

    def sums(self, gate, x, h):
        return self.w[gate] @ x + self.r[gate] @ h + self.wb[gate] + self.rb[gate]

    def step(self, x, h, c):
        if self.op == "RNN":
            return self.activation(0, self.sums(0, x, h)), c
        if self.op == "GRU":
            z, r = self.activation(0, self.sums(0, x, h)), self.activation(0, self.sums(1, x, h))
            if self.attributes.get("linear_before_reset", 0):
                n = self.w[2] @ x + self.wb[2] + r * (self.r[2] @ h + self.rb[2])
            else:
                n = self.sums(2, x, r * h)
            return (1 - z) * self.activation(1, n) + z * h, c
        p_i, p_o, p_f = self.peepholes
        i = self.activation(0, self.sums(0, x, h) + p_i * c)
        f = 1 - i if self.attributes.get("input_forget", 0) else self.activation(0, self.sums(2, x, h) + p_f * c)
        new_c = f * c + i * self.activation(1, self.sums(3, x, h))
        o = self.activation(0, self.sums(1, x, h) + p_o * new_c)
        return o * self.activation(2, new_c), new_c


def run(c):
    """Returns Y, Y_h and Y_c. Y is zero beyond the end of a sequence."""
    wide = {k: v.astype(np.float64) if k != "sequence_lens" else v for k, v in c.inputs.items()}
    first = c.attributes.get("layout", 0)
    x = wide["X"].swapaxes(0, 1) if first else wide["X"]
    steps, batch, _ = x.shape
    directions, hidden = wide["R"].shape[0], wide["R"].shape[2]
    lengths = wide.get("sequence_lens", np.full(batch, steps))
    y = np.zeros((steps, directions, batch, hidden))
    states = []
    for name in ("initial_h", "initial_c"):
        state = wide.get(name, np.zeros((batch, directions, hidden) if first else (directions, batch, hidden)))
        states.append((state.swapaxes(0, 1) if first else state).copy())
    y_h, y_c = states
    for d in range(directions):
        bias = wide["B"][d] if "B" in wide else np.zeros(2 * GATES[c.op] * hidden)
        cell = Cell(c, d, wide["W"][d], wide["R"][d], bias, wide["P"][d] if "P" in wide else np.zeros(3 * hidden))
        backwards = d == 1 or c.attributes.get("direction") == "reverse"
        for b in range(batch):
            order = range(lengths[b])
            for t in reversed(order) if backwards else order:
                y_h[d, b], y_c[d, b] = cell.step(x[t, b], y_h[d, b], y_c[d, b])
                y[t, d, b] = y_h[d, b]
    if first:
        y, y_h, y_c = y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)
    return {"Y": y, "Y_h": y_h, "Y_c": y_c}
