"""The lecture's character program as equations: a plain recurrent net, its gradient by hand, and Adagrad.

    h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h)        y_t = W_hy h_t + b_y
    loss = Σ_t −log softmax(y_t)[target_t]           over one chunk of the text
    gradient of the sum, each element clipped to ±5; m += g²; θ −= 0.1 g / √(m + 1e-8)

x_t is one-hot, so that W_xh x_t is a column. The state is carried from chunk to chunk and starts at zero
where the text does; the gradient is not carried. Weights by name: `w_xh` (units, characters), `w_hh`,
`w_hy` (characters, units), `b_h`, `b_y`.
"""

import numpy as np


def train(ids, weights, steps, length=25, rate=0.1, clip=5.0):
    """The loss of each of `steps` chunks, and the weights after them; in float64.

    ids: the text as whole numbers. A chunk that would reach past its end starts the text again, with a state
        of zero.
    """
    weights = {name: np.array(value, "float64") for name, value in weights.items()}
    squares = {name: np.zeros_like(value) for name, value in weights.items()}
    losses, start = [], 0
    state = np.zeros(len(weights["b_h"]))
    for _ in range(steps):
        if start + length + 1 > len(ids):
            start, state = 0, np.zeros_like(state)
        inputs, targets = ids[start : start + length], ids[start + 1 : start + length + 1]
        loss, gradients, state = loss_and_gradients(inputs, targets, state, weights)
        losses.append(loss)
        for name, gradient in gradients.items():
            gradient = np.clip(gradient, -clip, clip)
            squares[name] += gradient**2
            weights[name] -= rate * gradient / np.sqrt(squares[name] + 1e-8)
        start += length
    return losses, weights


def loss_and_gradients(inputs, targets, state, weights):
    """The loss of one chunk, the gradient of every weight, and the state after the chunk."""
    states, outputs = [state], []
    for character in inputs:
        inner = weights["w_xh"][:, character] + weights["w_hh"] @ states[-1] + weights["b_h"]
        states.append(np.tanh(inner))
        outputs.append(weights["w_hy"] @ states[-1] + weights["b_y"])
    outputs = np.stack(outputs)
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(targets)), targets]).sum()

    gradients = {name: np.zeros_like(value) for name, value in weights.items()}
    later = np.zeros_like(state)
    for t in reversed(range(len(inputs))):
        d_output = probabilities[t].copy()
        d_output[targets[t]] -= 1
        gradients["w_hy"] += np.outer(d_output, states[t + 1])
        gradients["b_y"] += d_output
        d_state = weights["w_hy"].T @ d_output + later
        d_inner = (1 - states[t + 1] ** 2) * d_state
        gradients["b_h"] += d_inner
        gradients["w_xh"][:, inputs[t]] += d_inner
        gradients["w_hh"] += np.outer(d_inner, states[t])
        later = weights["w_hh"].T @ d_inner
    return loss, gradients, states[-1]
