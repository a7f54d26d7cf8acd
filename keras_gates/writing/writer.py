"""A model that writes: an opened model, its head and a strategy, as functions of tensors."""

import functools
import math

import keras
from keras import ops

from keras_gates.layers.stepping import plain_loops, where_step
from keras_gates.writing.heads import Categorical
from keras_gates.writing.strategies import Beam, Sampling
from keras_gates.writing.unfold import unfold, uniform

# In the state, beside the context and the states of the layers: the value that was written or given last and
# is not yet heard; how many were written, on which the noise depends; and whether the row has stopped.
PENDING, POSITION, DONE = "pending", "position", "done"
ALIGNMENT = "_alignment"


class Writer:
    """Hears a prompt, then chooses value after value and hears each of them.

        state = writer.start(context_inputs, first)
        state = writer.hear(state, prompt, prompt_lengths)
        found, state = writer.write(state, length)

    Args:
        opened: a `keras_gates.opened.Opened`, split at the input that hears what was written.
        output: the name of the output that says what comes next.
        head: how a value is drawn (see `keras_gates.writing.heads`).
        how: a `Greedy`, `Sampling` or `Beam`.
        stop: the classes that end a text, a tuple of whole numbers; empty if none does.

    Attributes:
        value: one value that is heard, as `keras.InputSpec`. A class is a whole number, also where the model
            hears it as a one-hot vector.
        state: by name, what is carried, as `keras.InputSpec`.
    """

    def __init__(self, opened, output, head, how, stop=()):
        self.opened, self.output, self.head, self.how, self.stop = opened, output, head, how, tuple(stop)
        steps = opened.steps
        ((self.heard, value),) = steps.inputs.items()
        outputs = opened.whole.outputs[output]
        self.noise_size = head.noise_size(outputs)
        self.one_hot = isinstance(head, Categorical) and value.shape[1:] == outputs.shape[-1:]
        self.value = keras.InputSpec("int32", (None,)) if self.one_hot else value
        self.state = {
            **steps.context_specs,
            **steps.carried,
            PENDING: self.value,
            POSITION: keras.InputSpec("int32", (None,)),
            DONE: keras.InputSpec("bool", (None,)),
        }
        step = self._write_one_each if isinstance(how, Beam) else self._write_one
        self._read_one, self._write_one = map(self._compiled, (self._read_one, step))

    def start(self, inputs, first):
        """The state before anything is heard.

        Args:
            inputs: the inputs of the model that are not written, whole, by name.
            first: the value that is heard first, `(batch, …)`.
        """
        with plain_loops(self.opened.recurrent.values()):
            context = self.opened.context(inputs)
        rows = ops.shape(first)[0]
        return {
            **context,
            **self.opened.initial_states(context, rows),
            PENDING: ops.cast(first, self.value.dtype),
            POSITION: ops.zeros((rows,), "int32"),
            DONE: ops.zeros((rows,), "bool"),
        }

    def hear(self, state, prompt, lengths):
        """Hear more, after the value that is pending; the last value of each row is pending then.

        Args:
            state: as `start`, `hear` or `write` gave it.
            prompt: shape `(batch, time, …)`.
            lengths: how many values of each row's prompt count, `(batch,)`. A row that has stopped goes on if
                it is given more to hear.

        Returns:
            The state.
        """
        context, states, (pending, position, done) = self._parted(state)
        prompt = ops.concatenate([pending[:, None], ops.cast(prompt, pending.dtype)], axis=1)
        step = functools.partial(self._read_one, context)

        def given(t):
            return {"value": prompt[:, t], "counts": t < lengths}

        states, _ = unfold(step, states, ops.shape(prompt)[1] - 1, lambda states: False, given)
        return {
            **context,
            **states,
            PENDING: _at(prompt, lengths),
            POSITION: position,
            DONE: ops.logical_and(done, lengths == 0),
        }

    def write(self, state, length, seed=0, temperature=1.0):
        """Write on.

        Args:
            state: as `start`, `hear` or `write` gave it.
            length: how many values to write at most.
            seed, temperature: for `Sampling`.

        Returns:
            A dict of tensors: `tokens`, the values written, `(batch, time, …)`, zeros after the end;
            `lengths`, without the stop token; `scores`; `stopped`, whether a row ended by itself; for each
            layer that attends `PLACE_alignment`, `(batch, time, J)`. For a `Beam` all have an axis `n_best`
            after the batch. And the state after it, None for a `Beam`.
        """
        context, states, (pending, position, done) = self._parted(state)
        if isinstance(self.how, Beam):
            return self._search(context, states, pending, done, length), None
        rows = ops.shape(pending)[0]
        temperature = ops.convert_to_tensor(temperature, "float32")
        step = functools.partial(self._write_one, context)

        def given(t):
            if not isinstance(self.how, Sampling):
                return {}
            noise = uniform((rows, self.noise_size), seed, position[0] + t)
            return {"noise": noise, "temperature": temperature}

        carry = {
            "states": states,
            PENDING: pending,
            POSITION: position,
            DONE: done,
            "length": ops.zeros((rows,), "int32"),
            "score": ops.zeros((rows,), "float32"),
        }
        carry, emitted = unfold(step, carry, length, lambda carry: ops.all(carry[DONE]), given)
        found = {
            **{name: ops.moveaxis(x, 0, 1) for name, x in emitted.items()},
            "lengths": carry["length"],
            "scores": carry["score"],
            "stopped": carry[DONE],
        }
        return found, {**context, **carry["states"], **{key: carry[key] for key in (PENDING, POSITION, DONE)}}

    def _parted(self, state):
        """The context, the states of the layers, and what is carried beside them."""
        steps = self.opened.steps
        context, states = (
            {name: state[name] for name in names} for names in (steps.context_specs, steps.carried)
        )
        return context, states, (state[PENDING], state[POSITION], state[DONE])

    # -- one step

    def _read_one(self, context, states, given):
        _, new, _ = self.step(given["value"], states, context)
        return _where(given["counts"], new, states), {}

    def step(self, value, states, context):
        """Hear a value: what the model says next, the new states, and the alignments by name."""
        if self.one_hot:
            value = ops.one_hot(value, self.opened.steps.inputs[self.heard].shape[-1])
        outputs, states, gates = self.opened.trace_step({self.heard: value}, states, context)
        return outputs[self.output], states, {k: v for k, v in gates.items() if k.endswith(ALIGNMENT)}

    def _write_one(self, context, carry, given):
        outputs, states, emitted = self.step(carry[PENDING], carry["states"], context)
        if isinstance(self.how, Sampling):
            value = self.head.draw(outputs, given["noise"], given["temperature"])
        else:
            value = self.head.mode(outputs)
        goes_on = ops.logical_not(carry[DONE])
        log_prob = ops.cast(self.head.log_prob(outputs, value), "float32")
        stops = ops.logical_and(goes_on, self._stops(value))
        writes = ops.logical_and(goes_on, ops.logical_not(stops))
        after = {
            "states": _where(goes_on, states, carry["states"]),
            PENDING: where_step(goes_on, ops.cast(value, carry[PENDING].dtype), carry[PENDING]),
            POSITION: carry[POSITION] + 1,
            DONE: ops.logical_or(carry[DONE], stops),
            "length": carry["length"] + ops.cast(writes, "int32"),
            "score": carry["score"] + ops.where(goes_on, log_prob, 0),
        }
        emitted["tokens"] = value
        return after, {name: where_step(writes, x, ops.zeros_like(x)) for name, x in emitted.items()}

    def _stops(self, value):
        stops = ops.zeros(ops.shape(value)[:1], "bool")
        for token in self.stop:
            stops = ops.logical_or(stops, ops.equal(value, token))
        return stops

    # -- beam search: the rows of `width` hypotheses side by side are one batch

    def _search(self, context, states, pending, done, length):
        width, rows = self.how.width, ops.shape(pending)[0]
        tile = functools.partial(ops.repeat, repeats=width, axis=0)
        alone = ops.broadcast_to(ops.arange(width) == 0, (rows, width))
        carry = {
            "states": keras.tree.map_structure(tile, states),
            PENDING: tile(pending),
            DONE: ops.broadcast_to(done[:, None], (rows, width)),
            # all but one start out impossible: they would be the same
            "log_prob": ops.where(alone, 0.0, -float("inf")),
            "length": ops.zeros((rows, width), "int32"),
        }
        context = {name: tile(x) for name, x in context.items()}
        step = functools.partial(self._write_one, context)
        carry, emitted = unfold(step, carry, length, lambda carry: ops.all(carry[DONE]))
        best = self.how.n_best
        found = _traced_back(emitted, rows, width)
        return {
            **{name: x[:, :best] for name, x in found.items()},
            "lengths": carry["length"][:, :best],
            "scores": self._ranked(carry["log_prob"], carry["length"], carry[DONE])[:, :best],
            "stopped": carry[DONE][:, :best],
        }

    def _write_one_each(self, context, carry, given):
        """One step of every hypothesis; those that go on best take the places of the others."""
        outputs, states, alignments = self.step(carry[PENDING], carry["states"], context)
        rows, width = ops.shape(carry[DONE])[0], self.how.width
        log_probs = ops.cast(self.head.log_probs(outputs), "float32")
        classes = log_probs.shape[-1]
        log_probs = ops.reshape(log_probs, (rows, width, classes))
        # what is done stays as it is: one candidate, in the place of the first class
        stays = ops.where(ops.arange(classes) == 0, 0.0, -float("inf"))
        done = carry[DONE][..., None]
        candidates = carry["log_prob"][..., None] + ops.where(done, stays, log_probs)
        ranked = self._ranked(candidates, carry["length"][..., None], done, more=1)
        chosen = _best(ops.reshape(ranked, (rows, width * classes)), width)
        parent, token = chosen // classes, chosen % classes
        # the places in the batch of all hypotheses
        flat_parent = ops.reshape(ops.arange(rows)[:, None] * width + parent, (-1,))
        flat_chosen = ops.reshape(ops.arange(rows)[:, None] * width * classes + chosen, (-1,))

        def of_parent(x):
            return ops.take(x, flat_parent, axis=0)

        def each(x):
            return ops.reshape(x, (rows, width))

        was_done = each(of_parent(ops.reshape(carry[DONE], (-1,))))
        goes_on = ops.logical_not(was_done)
        stops = ops.logical_and(goes_on, self._stops_each(token))
        writes = ops.logical_and(goes_on, ops.logical_not(stops))
        length = each(of_parent(ops.reshape(carry["length"], (-1,))))
        pending = each(of_parent(carry[PENDING]))
        after = {
            "states": keras.tree.map_structure(of_parent, states),
            PENDING: ops.reshape(ops.where(goes_on, ops.cast(token, pending.dtype), pending), (-1,)),
            "log_prob": each(ops.take(ops.reshape(candidates, (-1,)), flat_chosen, axis=0)),
            "length": length + ops.cast(writes, "int32"),
            DONE: ops.logical_or(was_done, stops),
        }
        emitted = {"tokens": ops.where(writes, token, 0), "parent": parent}
        for name, x in alignments.items():
            x = ops.reshape(of_parent(x), (rows, width, -1))
            emitted[name] = ops.where(writes[..., None], x, 0)
        return after, emitted

    def _stops_each(self, tokens):
        return ops.reshape(self._stops(ops.reshape(tokens, (-1,))), ops.shape(tokens))

    def _ranked(self, log_prob, length, done, more=0):
        """log p / lp of texts of `length` tokens, and of their stop token, or of `more` if they go on."""
        if not self.how.length_penalty:
            return log_prob
        count = length + ops.where(done, 1, more)
        penalty = ((5.0 + ops.cast(count, "float32")) / 6.0) ** self.how.length_penalty
        return log_prob / penalty

    # -- compilation

    def _compiled(self, step):
        """The step, compiled on JAX, without gradients on PyTorch; TensorFlow compiles the whole loop."""
        backend = keras.backend.backend()
        if backend == "jax":
            return _jitted(self.opened.model, step)
        if backend == "torch":
            import torch

            return torch.no_grad()(step)
        return step


def _jitted(model, step):
    import jax

    @jax.jit
    def run(weights, *arguments):
        with keras.StatelessScope(state_mapping=list(zip(model.variables, weights, strict=True))):
            return step(*arguments)

    def with_weights(*arguments):
        return run([variable.value for variable in model.variables], *arguments)

    return with_weights


def _best(scores, k):
    """The places of the k highest scores of each row, the highest first, of equal ones the first: int32.

    `ops.top_k` compares one number after the other. Here it sees the highest of each block of neighbours
    only, and then the k best blocks, among which the k highest scores are.
    """
    rows, number = ops.shape(scores)[0], scores.shape[-1]
    size = max(1, math.isqrt(number // k))  # then both stages compare about equally many
    count = -(-number // size)
    filled = ops.pad(scores, ((0, 0), (0, count * size - number)), constant_values=-float("inf"))
    blocks = ops.reshape(filled, (-1, size))
    _, best = ops.top_k(ops.reshape(ops.max(blocks, axis=-1), (rows, count)), k)
    best = ops.sort(ops.cast(best, "int32"), axis=-1)
    inside = ops.take(blocks, best + ops.arange(rows)[:, None] * count, axis=0)
    _, chosen = ops.top_k(ops.reshape(inside, (rows, k * size)), k)
    chosen = ops.cast(chosen, "int32")
    return ops.take_along_axis(best, chosen // size, axis=1) * size + chosen % size


def _at(sequences, index):
    """One value of each row: `(batch, time, …)` at `(batch,)` to `(batch, …)`."""
    places = ops.reshape(index, (-1,) + (1,) * (len(sequences.shape) - 1))
    places = ops.broadcast_to(places, (ops.shape(sequences)[0], 1, *sequences.shape[2:]))
    return ops.take_along_axis(sequences, places, axis=1)[:, 0]


def _where(counts, new, old):
    return {name: where_step(counts, new[name], old[name]) for name in new}


def _traced_back(emitted, rows, width):
    """What the hypotheses emitted, `(batch, width, time, …)`: each is followed back by its parents."""
    parents = emitted.pop("parent")  # (time, batch, width)
    last = ops.broadcast_to(ops.arange(width, dtype=parents.dtype), (rows, width))

    def back(place, parent):
        return ops.take_along_axis(parent, place, axis=1), place

    _, places = ops.scan(back, last, parents, reverse=True)
    found = {}
    for name, x in emitted.items():
        index = ops.reshape(places, ops.shape(places) + (1,) * (len(x.shape) - 3))
        index = ops.broadcast_to(index, ops.shape(x)) if len(x.shape) > 3 else index
        found[name] = ops.moveaxis(ops.take_along_axis(x, index, axis=2), 0, 2)
    return found
