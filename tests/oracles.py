"""The cells once more, in NumPy and float64, written from the papers: what the package is held to.

One function per paper. Each takes the input ``x`` (batch, features), the states before the step, a dict of
weights under the names of the cells, and the cell's options; it returns ``(output, new states, gates)``.
`run` carries such a step through a sequence, `differentiate` gives the gradients of anything made of them.

What the papers leave open, and what is held here
-------------------------------------------------
- Matrices act from the right, ``x @ W``; gates lie side by side in the order of each docstring.
- **GRU**: ``update="keep"`` is Cho et al. (u says what is kept), ``"write"`` is Chung et al.
- **Coupled**: the forget gate is learned and i = 1 − f. Greff et al. learn i; one is the other with all
  weights of the gate negated, since 1 − σ(z) = σ(−z).
- **Peephole-only**: the squashing of the output acts on the product, φ_h(o ⊙ c').
- **Clockwork**: time counts from 0, so every module updates at the first step; a module of period T hears
  the modules of period ≥ T.
- **Depth gate**: Yao et al. draw peepholes in their LSTM; here the layers are plain LSTMs and the depth gate
  alone looks at memories. States are h, c of the uppermost layer, then of the one below, …; the output is
  the uppermost h. The first layer has no depth gate.
- **Layer normalization** of an LSTM (Ba et al., supplement): input product and recurrent product are each
  normalized over all four gates together; the memory is normalized only on its way to the output, the
  memory that is carried is not. (TensorFlow Addons carried the normalized memory.) Of a GRU: input and
  recurrent products of the two gates are normalized over both together, the candidate's two products apart,
  and the reset gate multiplies the normalized recurrent product. Shifts play the part of biases.
- **Zoneout** at inference is its expectation: rate · old + (1 − rate) · new, for each state by its own rate;
  the output is the state after zoneout.
- **JANET**: β is subtracted inside the second sigmoid, 1 − σ(s − β); β = 1 unless told otherwise.
- **minLSTM, minGRU**: the plain form (not the one in log-space): the candidate is linear, and the gates
  never see h. minLSTM divides both gates by their sum.
- **sLSTM**: exponential input gate, sigmoid forget gate (``forget="exponential"`` for the other choice of the
  paper), one head, tanh candidate; stabiliser m' = max(log f + m, log i), h' = o ⊙ c' / n'. States h, c, n, m
  start at zero, m at −∞ (with c = n = 0 no output depends on where m starts).
- **Attention**: the softmax runs over the positions that are there; where none is, nothing is seen (zeros).
  The scores and the attentional vector have no bias (Bahdanau et al. leave biases out of their equations
  "whenever possible", Luong et al. write none). Bahdanau et al. let the context into every gate by a matrix
  of its own (C, C_z, C_r), Luong et al. concatenate the attentional vector with the input: both are the cell
  inside on [x, a], and it may be any. Luong's first attentional vector is a state like any other. What stands
  around it in the papers (a first state from the encoder, maxout, softmax) does not belong to the cell.
  Hard attention takes one position, at inference the most probable; its gradient is the straight-through
  estimator (Bengio et al. 2013), not the REINFORCE of Xu et al. 2015.
"""

from types import SimpleNamespace

import numpy as np


def sigmoid(z):
    """The logistic function, σ(z) = 1 / (1 + e^−z)."""
    return 1 / (1 + np.exp(-z))


def linear(z):
    """The identity."""
    return z


def by_gate(matrix, gates):
    """Cut the last axis into one block per gate: ``by_gate(kernel, "ifgo").f``."""
    return SimpleNamespace(**dict(zip(gates, np.split(matrix, len(gates), axis=-1), strict=True)))


def read(weights, gates):
    """Input matrices W, recurrent matrices U and biases b of a cell, each by gate."""
    kernel = weights["kernel"]
    bias = weights.get("bias", np.zeros(kernel.shape[-1]))
    recurrent = weights.get("recurrent_kernel")
    U = None if recurrent is None else by_gate(recurrent, gates)
    return by_gate(kernel, gates), U, by_gate(bias, gates)


# ------------------------------------------------------------------------------------------ the basic cells


def simple(x, states, weights, activation=np.tanh):
    """Gate n; state h. Elman 1990, "Finding structure in time"."""
    (h,) = states
    W, U, b = read(weights, "n")
    n = activation(x @ W.n + h @ U.n + b.n)
    return n, (n,), {"n": n}


def lstm(x, states, weights, activation=np.tanh, recurrent_activation=sigmoid):
    """Gates i f g o; states h c. Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000."""
    h, c = states
    W, U, b = read(weights, "ifgo")
    i = recurrent_activation(x @ W.i + h @ U.i + b.i)
    f = recurrent_activation(x @ W.f + h @ U.f + b.f)
    g = activation(x @ W.g + h @ U.g + b.g)
    c = f * c + i * g
    o = recurrent_activation(x @ W.o + h @ U.o + b.o)
    h = o * activation(c)
    return h, (h, c), {"i": i, "f": f, "g": g, "o": o}


def look(c, weights, gate):
    """What a gate sees of the memory: p ⊙ c, or P c where the peephole is a matrix, or nothing."""
    p = weights.get(f"peephole_{gate}")
    if p is None:
        return 0.0
    return c @ p if p.ndim == 2 else p * c


def peephole(x, states, weights, output_peephole="current", activation=np.tanh, recurrent_activation=sigmoid):
    """Gates i f g o; states h c. Gers & Schmidhuber 2000, "Recurrent nets that time and count".

    Which peepholes exist, and whether they are vectors or matrices (Olah 2015), is read off the weights.
    """
    h, c_old = states
    W, U, b = read(weights, "ifgo")
    i = recurrent_activation(x @ W.i + h @ U.i + look(c_old, weights, "i") + b.i)
    f = recurrent_activation(x @ W.f + h @ U.f + look(c_old, weights, "f") + b.f)
    g = activation(x @ W.g + h @ U.g + b.g)
    c = f * c_old + i * g
    seen = {"current": c, "previous": c_old}[output_peephole]
    o = recurrent_activation(x @ W.o + h @ U.o + look(seen, weights, "o") + b.o)
    h = o * activation(c)
    return h, (h, c), {"i": i, "f": f, "g": g, "o": o}


def peephole_only(
    x, states, weights, activation=np.tanh, recurrent_activation=sigmoid, output_activation=np.tanh
):
    """Gates i f g o; states h c. The recurrence runs through the memory alone: U acts on c, and g has none.

    The recurrent kernel is (units, 3·units), for i, f and o.
    """
    _, c = states
    W, _, b = read({k: v for k, v in weights.items() if k != "recurrent_kernel"}, "ifgo")
    U = by_gate(weights["recurrent_kernel"], "ifo")
    i = recurrent_activation(x @ W.i + c @ U.i + b.i)
    f = recurrent_activation(x @ W.f + c @ U.f + b.f)
    o = recurrent_activation(x @ W.o + c @ U.o + b.o)
    g = activation(x @ W.g + b.g)
    c = f * c + i * g
    h = output_activation(o * c)
    return h, (h, c), {"i": i, "f": f, "g": g, "o": o}


def coupled(x, states, weights, activation=np.tanh, recurrent_activation=sigmoid):
    """Gates f g o; states h c. CIFG of Greff et al. 2017, "LSTM: A Search Space Odyssey"."""
    h, c = states
    W, U, b = read(weights, "fgo")
    f = recurrent_activation(x @ W.f + h @ U.f + look(c, weights, "f") + b.f)
    g = activation(x @ W.g + h @ U.g + b.g)
    c = f * c + (1 - f) * g
    o = recurrent_activation(x @ W.o + h @ U.o + look(c, weights, "o") + b.o)
    h = o * activation(c)
    return h, (h, c), {"i": 1 - f, "f": f, "g": g, "o": o}


def gru(
    x, states, weights, reset_after=True, update="keep", activation=np.tanh, recurrent_activation=sigmoid
):
    """Gates u r n; state h. Cho et al. 2014; ``update="write"``: Chung et al. 2014; ``reset_after``: cuDNN.

    With ``reset_after`` the bias is (2, 3·units): one row beside W x, one beside U h.
    """
    (h,) = states
    bias = weights.get("bias", np.zeros((2, weights["kernel"].shape[-1])))
    beside_x, beside_h = bias if reset_after else (bias.reshape(-1, weights["kernel"].shape[-1])[0], None)
    W, U, b = read({**weights, "bias": beside_x}, "urn")
    b_U = by_gate(np.zeros_like(beside_x) if beside_h is None else beside_h, "urn")
    u = recurrent_activation(x @ W.u + b.u + h @ U.u + b_U.u)
    r = recurrent_activation(x @ W.r + b.r + h @ U.r + b_U.r)
    if reset_after:
        n = activation(x @ W.n + b.n + r * (h @ U.n + b_U.n))
    else:
        n = activation(x @ W.n + b.n + (r * h) @ U.n)
    h = u * h + (1 - u) * n if update == "keep" else (1 - u) * h + u * n
    return h, (h,), {"u": u, "r": r, "n": n}


# --------------------------------------------------------------------------------------------- their family


def minimal_gated(x, states, weights, activation=np.tanh, recurrent_activation=sigmoid):
    """Gates f n; state h. Zhou et al. 2016, "Minimal gated unit for recurrent neural networks"."""
    (h,) = states
    W, U, b = read(weights, "fn")
    f = recurrent_activation(x @ W.f + h @ U.f + b.f)
    n = activation(x @ W.n + (f * h) @ U.n + b.n)
    h = (1 - f) * h + f * n
    return h, (h,), {"f": f, "n": n}


def clockwork(x, states, weights, periods, activation=np.tanh):
    """Gate n, and which units tick; states h t. Koutník et al. 2014, "A clockwork RNN".

    Units stand in ``len(periods)`` equal modules, fastest first; t (batch, 1) counts modulo lcm(periods).
    """
    h, t = states
    modules = len(periods)
    h_of = np.split(h, modules, axis=-1)
    W = np.split(weights["kernel"], modules, axis=-1)
    U = [np.split(rows, modules, axis=-1) for rows in np.split(weights["recurrent_kernel"], modules, axis=0)]
    b = np.split(weights.get("bias", np.zeros(h.shape[-1])), modules)
    new, candidates, ticks = [], [], []
    for k, period in enumerate(periods):
        heard = sum(h_of[j] @ U[j][k] for j in range(modules) if periods[j] >= period)
        n = activation(x @ W[k] + heard + b[k])
        ticks.append(np.broadcast_to(t % period == 0, n.shape))
        candidates.append(n)
        new.append(np.where(ticks[-1], n, h_of[k]))
    h, n, tick = (np.concatenate(parts, axis=-1) for parts in (new, candidates, ticks))
    return h, (h, (t + 1) % np.lcm.reduce(periods)), {"n": n, "tick": 1.0 * tick}


def depth_gated(x, states, layers, activation=np.tanh, recurrent_activation=sigmoid):
    """Gates i f g o of each layer, above the first also d. Yao et al. 2015, "Depth-gated LSTM".

    States are h and c of each layer from the uppermost down; gates carry the number of their layer.
    ``layers`` holds the weights of each layer: kernel, recurrent_kernel, bias of an LSTM and, above the
    first, depth_kernel (features of the layer, units), depth_bias, depth_own (w_q, acts on the layer's old
    memory) and depth_below (w_l, acts on the new memory of the layer below).
    """
    new, gates = [], {}
    below = None
    for layer, weights in enumerate(layers):
        h, c_old = states[len(states) - 2 * layer - 2 :][:2]
        W, U, b = read(weights, "ifgo")
        i = recurrent_activation(x @ W.i + h @ U.i + b.i)
        f = recurrent_activation(x @ W.f + h @ U.f + b.f)
        g = activation(x @ W.g + h @ U.g + b.g)
        o = recurrent_activation(x @ W.o + h @ U.o + b.o)
        c = f * c_old + i * g
        report = {"i": i, "f": f, "g": g, "o": o}
        if below is not None:
            d = recurrent_activation(
                x @ weights["depth_kernel"]
                + weights["depth_own"] * c_old
                + weights["depth_below"] * below
                + weights["depth_bias"]
            )
            c = c + d * below
            report["d"] = d
        h = o * activation(c)
        new = [h, c, *new]
        gates.update({f"{gate}{layer + 1}": value for gate, value in report.items()})
        x, below = h, c
    return h, tuple(new), gates


def odyssey(x, states, weights, variant, activation=np.tanh, recurrent_activation=sigmoid):
    """The vanilla LSTM (V) and its departures NIG NFG NOG NIAF NOAF NP CIFG FGR: Greff et al. 2017.

    Weights are a dict by block, so that no order is presumed: W_i, U_i, b_i, p_i, … and for FGR R_ii, R_fi, …
    (R_fi: from f of the step before to i). States h c, and i f o of the step before for FGR.
    """
    h, c = states[:2]
    before = dict(zip("ifo", states[2:], strict=False))

    def gate(name, memory):
        z = x @ weights[f"W_{name}"] + h @ weights[f"U_{name}"] + weights[f"b_{name}"]
        if variant != "NP":
            z = z + weights[f"p_{name}"] * memory
        for other, value in before.items():
            z = z + value @ weights[f"R_{other}{name}"]
        return recurrent_activation(z)

    one = np.ones_like(c)
    f = one if variant == "NFG" else gate("f", c)
    i = one if variant == "NIG" else 1 - f if variant == "CIFG" else gate("i", c)
    g = x @ weights["W_g"] + h @ weights["U_g"] + weights["b_g"]
    g = g if variant == "NIAF" else activation(g)
    c = f * c + i * g
    o = one if variant == "NOG" else gate("o", c)
    h = o * (c if variant == "NOAF" else activation(c))
    return h, (h, c, i, f, o) if variant == "FGR" else (h, c), {"i": i, "f": f, "g": g, "o": o}


def normalized(z, weights, name, epsilon):
    """LN(z; α, β): zero mean, unit variance over the last axis, then gain and shift."""
    centred = z - z.mean(-1, keepdims=True)
    z = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return weights[f"{name}_gain"] * z + weights.get(f"{name}_shift", 0.0)


def layer_norm_simple(x, states, weights, epsilon=1e-3, activation=np.tanh):
    """Gate n; state h. One normalization of the sum of both products, as TensorFlow Addons had it."""
    (h,) = states
    z = x @ weights["kernel"] + h @ weights["recurrent_kernel"]
    h = activation(normalized(z, weights, "sum", epsilon))
    return h, (h,), {"n": h}


def layer_norm_lstm(
    x, states, weights, epsilon=1e-3, activation=np.tanh, recurrent_activation=sigmoid, carry_normalized=False
):
    """Gates i f g o; states h c. Ba, Kiros & Hinton 2016, "Layer normalization", supplement.

    Gains (and shifts) are named kernel_gain, recurrent_gain, state_gain, …; ``carry_normalized`` is the cell
    of TensorFlow Addons, in which the normalized memory is the one carried on.
    """
    h, c = states
    z = (
        normalized(x @ weights["kernel"], weights, "kernel", epsilon)
        + normalized(h @ weights["recurrent_kernel"], weights, "recurrent", epsilon)
        + weights.get("bias", 0.0)
    )
    z = by_gate(z, "ifgo")
    i, f, o = (recurrent_activation(a) for a in (z.i, z.f, z.o))
    g = activation(z.g)
    c = f * c + i * g
    seen = normalized(c, weights, "state", epsilon)
    h = o * activation(seen)
    return h, (h, seen if carry_normalized else c), {"i": i, "f": f, "g": g, "o": o}


def layer_norm_gru(
    x, states, weights, epsilon=1e-3, update="keep", activation=np.tanh, recurrent_activation=sigmoid
):
    """Gates u r n; state h. Ba, Kiros & Hinton 2016, "Layer normalization", supplement.

    Four normalizations: kernel (of u and r), recurrent (of u and r), candidate_kernel, candidate_recurrent.
    """
    (h,) = states
    units = h.shape[-1]
    W, U = weights["kernel"], weights["recurrent_kernel"]
    b = by_gate(weights.get("bias", np.zeros(3 * units)), "urn")
    gates = normalized(x @ W[:, : 2 * units], weights, "kernel", epsilon) + normalized(
        h @ U[:, : 2 * units], weights, "recurrent", epsilon
    )
    z = by_gate(gates, "ur")
    u, r = recurrent_activation(z.u + b.u), recurrent_activation(z.r + b.r)
    n = activation(
        normalized(x @ W[:, 2 * units :], weights, "candidate_kernel", epsilon)
        + r * normalized(h @ U[:, 2 * units :], weights, "candidate_recurrent", epsilon)
        + b.n
    )
    h = u * h + (1 - u) * n if update == "keep" else (1 - u) * h + u * n
    return h, (h,), {"u": u, "r": r, "n": n}


def zoneout(x, states, step, rates):
    """Krueger et al. 2017, "Zoneout": each state keeps its old value with its own rate; here in expectation.

    ``step`` is the cell inside, ``rates`` one number per state.
    """
    _, new, gates = step(x, states)
    new = tuple(rate * old + (1 - rate) * now for rate, old, now in zip(rates, states, new, strict=True))
    return new[0], new, gates


def residual(x, states, step, projection=None):
    """The input of a cell, or its projection, is added to its output, and to no state. He et al. 2016."""
    output, new, gates = step(x, states)
    return output + (x if projection is None else x @ projection), new, gates


def indrnn(x, states, weights, activation=lambda z: np.maximum(z, 0)):
    """Gate n; state h; the recurrent weight is a vector.

    Li et al. 2018, "Independently recurrent neural network (IndRNN)".
    """
    (h,) = states
    h = activation(x @ weights["kernel"] + weights["recurrent_kernel"] * h + weights.get("bias", 0.0))
    return h, (h,), {"n": h}


def janet(x, states, weights, beta=1.0, activation=np.tanh):
    """Gates f g; state h, which is the memory too.

    van der Westhuizen & Lasenby 2018, "The unreasonable effectiveness of the forget gate".
    """
    (h,) = states
    W, U, b = read(weights, "fg")
    s = x @ W.f + h @ U.f + b.f
    g = activation(x @ W.g + h @ U.g + b.g)
    f, i = sigmoid(s), 1 - sigmoid(s - beta)
    h = f * h + i * g
    return h, (h,), {"i": i, "f": f, "g": g}


def min_lstm(x, states, weights, activation=linear):
    """Gates i f g; state h. Feng et al. 2024, "Were RNNs all we needed?", section 3.2 (plain form)."""
    (h,) = states
    W, _, b = read(weights, "ifg")
    i, f = sigmoid(x @ W.i + b.i), sigmoid(x @ W.f + b.f)
    i, f = i / (i + f), f / (i + f)
    g = activation(x @ W.g + b.g)
    h = f * h + i * g
    return h, (h,), {"i": i, "f": f, "g": g}


def min_gru(x, states, weights, update="write", activation=linear):
    """Gates u n; state h. Feng et al. 2024, "Were RNNs all we needed?", section 3.1 (plain form)."""
    (h,) = states
    W, _, b = read(weights, "un")
    u = sigmoid(x @ W.u + b.u)
    n = activation(x @ W.n + b.n)
    h = u * h + (1 - u) * n if update == "keep" else (1 - u) * h + u * n
    return h, (h,), {"u": u, "n": n}


def slstm(x, states, weights, forget="sigmoid", activation=np.tanh):
    """Gates i f g o; states h c n m. Beck et al. 2024, "xLSTM", equations 8–18, one head.

    The gates reported are the stabilised ones, i' = exp(log i − m') and f' = exp(log f + m − m').
    """
    h, c, n, m = states
    W, U, b = read(weights, "ifgo")
    log_i = x @ W.i + h @ U.i + b.i
    log_f = x @ W.f + h @ U.f + b.f
    if forget == "sigmoid":
        log_f = -np.log1p(np.exp(-log_f))
    g = activation(x @ W.g + h @ U.g + b.g)
    o = sigmoid(x @ W.o + h @ U.o + b.o)
    m_new = np.maximum(log_f + m, log_i)
    i, f = np.exp(log_i - m_new), np.exp(log_f + m - m_new)
    c, n = f * c + i * g, f * n + i
    h = o * c / n
    return h, (h, c, n, m_new), {"i": i, "f": f, "g": g, "o": o}


# --------------------------------------------------------------------------------------------- attention


def bahdanau_score(query, weights):
    """e_j = vᵀ tanh(W_a s + U_a m_j). Bahdanau, Cho & Bengio 2015, appendix A.1.2."""
    inner = (query @ weights["query_kernel"])[:, None] + weights["memory"] @ weights["memory_kernel"]
    return np.tanh(inner) @ weights["score_kernel"]


def luong_score(query, weights):
    """e_j = hᵀ m_j ("dot"), or hᵀ W_a m_j ("general") if there is a W_a. Luong et al. 2015, section 3.1."""
    memory = weights["memory"]
    memory = memory @ weights["memory_kernel"] if "memory_kernel" in weights else memory
    return np.einsum("bk,bjk->bj", query, memory)


def attend(scores, memory, mask=None, hard=False):
    """What is seen of a memory (batch, J, size), Σ_j α_j m_j, and the alignment α (batch, J), softmax of e.

    ``mask`` (batch, J) is false where no position is. ``hard`` takes one position, the most probable or those
    given as an array of α's shape: the alignment has their value, and the derivative of α.
    """
    odds = np.exp(scores)
    odds = odds if mask is None else np.where(mask, odds, 0.0)
    total = odds.sum(-1, keepdims=True)
    alpha = odds / np.where(total == 0, 1.0, total)
    if hard is not False:
        best = np.eye(odds.shape[-1])[odds.real.argmax(-1)] * (total != 0)
        alpha = (best if hard is True else hard) + (alpha - alpha.real)
    return np.einsum("bj,bjk->bk", alpha, memory), alpha


def bahdanau(x, states, weights, step, memory_mask=None, hard=False):
    """Bahdanau, Cho & Bengio 2015, "Neural machine translation by jointly learning to align and translate".

    ``step(x, states, weights)`` is the cell inside, whose first state is its output. Among the weights stand
    its own, query_kernel W_a, memory_kernel U_a, score_kernel v, and the memory.
    """
    seen, alpha = attend(bahdanau_score(states[0], weights), weights["memory"], memory_mask, hard)
    output, new, gates = step(np.concatenate([x, seen], -1), states, weights)
    return output, new, {**gates, "alignment": alpha}


def luong(x, states, weights, step, memory_mask=None, hard=False):
    """Luong, Pham & Manning 2015, "Effective approaches to attention-based neural machine translation".

    Global attention, sections 3.1 and 3.3 (input feeding): h̃ = tanh(W_c [c; h]) is the output, the last of
    the states, and goes into the next step. ``step`` as in `bahdanau`; attention_kernel is W_c.
    """
    *states, attentional = states
    h, new, gates = step(np.concatenate([x, attentional], -1), states, weights)
    seen, alpha = attend(luong_score(h, weights), weights["memory"], memory_mask, hard)
    attentional = np.tanh(np.concatenate([seen, h], -1) @ weights["attention_kernel"])
    return attentional, (*new, attentional), {**gates, "alignment": alpha}


def hierarchical_attention(x, weights, mask=None):
    """A sequence x (batch, time, features) in one vector, and the alignment.

    u_t = tanh(W x_t + b), α = softmax(u_tᵀ u_w), s = Σ_t α_t x_t: Yang et al. 2016, "Hierarchical attention
    networks for document classification", section 2.2. score_kernel is u_w.
    """
    u = np.tanh(x @ weights["kernel"] + weights["bias"])
    return attend(u @ weights["score_kernel"], x, mask)


# -------------------------------------------------------------------------------------------- the sequence


def run(step, x, initial_states, mask=None, go_backwards=False, zero_output_for_mask=False):
    """Carry ``step(x, states) -> (output, states, gates)`` through ``x`` (batch, time, features).

    ``mask`` (batch, time) is false where a step is to be skipped: states stay, and the output repeats the one
    before (zero before the first), or is zero. ``go_backwards`` reads ``x`` and ``mask`` from the end, and
    what is returned is in the order of reading.

    Returns a namespace: outputs (batch, time, units), states (a tuple per state, batch, time, size), final
    states, gates by name (batch, time, units), in masked steps what the gates would have been.
    """
    if go_backwards:
        x, mask = x[:, ::-1], None if mask is None else mask[:, ::-1]
    states, previous = tuple(initial_states), None
    outputs, trail, gates = [], [], []
    for t in range(x.shape[1]):
        output, new, report = step(x[:, t], states)
        if mask is not None:
            keep = mask[:, t, None]
            new = tuple(np.where(keep, now, old) for now, old in zip(new, states, strict=True))
            fallback = np.zeros_like(output) if previous is None or zero_output_for_mask else previous
            output = np.where(keep, output, fallback)
        states, previous = new, output
        outputs.append(output)
        trail.append(states)
        gates.append(report)
    return SimpleNamespace(
        outputs=np.stack(outputs, axis=1),
        states=tuple(np.stack(values, axis=1) for values in zip(*trail, strict=True)),
        final=states,
        gates={name: np.stack([report[name] for report in gates], axis=1) for name in gates[0]},
    )


def differentiate(loss, arrays):
    """Gradient of the real ``loss(arrays)`` for every array of a dict, by complex steps.

    Im f(x + iε) / ε is the derivative of an analytic f without the cancellation of a difference, so ε can be
    as small as one likes and the result is exact to rounding (Squire & Trapp 1998).
    """
    gradients = {}
    for name, array in arrays.items():
        gradient = np.empty(array.shape)
        moved = array.astype("complex128")
        for at in np.ndindex(array.shape):
            moved[at] += 1e-30j
            gradient[at] = loss({**arrays, name: moved}).imag / 1e-30
            moved[at] = array[at]
        gradients[name] = gradient
    return gradients
