"""A model that writes: an opened model, its head and a strategy, as functions of tensors."""

import functools

import keras
from keras import ops

from keras_gates.layers.stepping import where_step
from keras_gates.writing.strategies import Beam, Sampling
from keras_gates.writing.unfold import unfold, uniform

# Carried beside the states of the layers: the value that was written last and not yet heard, and how many
# were written, on which the noise depends.
PENDING, POSITION = "pending", "position"
ALIGNMENT = "_alignment"


class Writer:
    """Hears a prompt, then chooses value after value and hears each of them.

    Args:
        opened: a `keras_gates.opened.Opened`, split at the input that hears what was written.
        output: the name of the output that says what comes next.
        head: how a value is drawn (see `keras_gates.writing.heads`).
        how: a `Greedy`, `Sampling` or `Beam`.
        stop: the classes that end a text, a tuple of whole numbers; empty if none does.
    """

    def __init__(self, opened, output, head, how, stop=()):
        self.opened, self.output, self.head, self.how, self.stop = opened, output, head, how, tuple(stop)
        (self.heard,) = opened.steps.inputs
        self.noise_size = head.noise_size(opened.whole.outputs[output])
        step = self._write_one_each if isinstance(how, Beam) else self._write_one
        self._read_one, self._write_one = map(self._compiled, (self._read_one, step))

    def start(self, context, batch_size):
        """What is carried before anything is heard, a dict of tensors with the batch as their first axis."""
        return {
            **self.opened.initial_states(context, batch_size),
            POSITION: ops.zeros((batch_size,), "int32"),
        }

    def run(self, context, carried, prompt, prompt_lengths, length, seed=0, temperature=1.0):
        """Hear a prompt and write on.

        Args:
            context: what `opened.context` gives.
            carried: what `start` or an earlier run gives.
            prompt: what to hear first, after the value that is pending in `carried` if there is one; shape
                `(batch, time)`, or `(batch, time, …)` for values that are no classes.
            prompt_lengths: how many values of each row's prompt count, shape `(batch,)`. At least one value
                is heard.
            length: how many values to write at most.
            seed, temperature: for `Sampling`.

        Returns:
            A dict of tensors: `tokens`, the values written, `(batch, time, …)`, zeros after the end;
            `lengths`, without the stop token; `scores`; `stopped`, whether a row ended by itself; for each
            layer that attends `PLACE_alignment`, `(batch, time, J)`. For a `Beam` all have an axis `n_best`
            after the batch; else there is `carried`, a dict.
        """
        carried, pending = self._hear(context, dict(carried), prompt, prompt_lengths)
        position = carried.pop(POSITION)
        if isinstance(self.how, Beam):
            return self._search(context, carried, pending, length)
        rows = ops.shape(pending)[0]
        noise = lambda t: None  # noqa: E731
        if isinstance(self.how, Sampling):
            noise = lambda t: uniform((rows, self.noise_size), seed, position[0] + t)  # noqa: E731
        carry = {
            "states": carried,
            "pending": pending,
            "position": position,
            "length": ops.zeros_like(position),
            "score": ops.zeros((rows,), "float32"),
            "done": ops.zeros((rows,), "bool"),
        }
        temperature = ops.convert_to_tensor(temperature, "float32")
        step = functools.partial(self._write_one, context, temperature)
        carry, emitted = unfold(step, carry, length, lambda carry: ops.all(carry["done"]), noise)
        return {
            **{name: ops.moveaxis(x, 0, 1) for name, x in emitted.items()},
            "lengths": carry["length"],
            "scores": carry["score"],
            "stopped": carry["done"],
            "carried": {**carry["states"], PENDING: carry["pending"], POSITION: carry["position"]},
        }

    # -- hearing

    def _hear(self, context, carried, prompt, lengths):
        """Hear all of the prompt but its last value; the states after it, and that value."""
        if PENDING in carried:
            pending = carried.pop(PENDING)
            prompt = ops.concatenate([ops.cast(pending, prompt.dtype)[:, None], prompt], axis=1)
            lengths = lengths + 1
        position = carried.pop(POSITION)
        step = functools.partial(self._read_one, context, {"prompt": prompt, "lengths": lengths})
        carry = {"states": carried, "t": ops.zeros_like(lengths)}
        carry, _ = unfold(step, carry, ops.shape(prompt)[1] - 1, lambda carry: False)
        return {**carry["states"], POSITION: position}, _at(prompt, lengths - 1)

    def _read_one(self, context, prompt, carry, noise):
        t = carry["t"]
        values = _at(prompt["prompt"], t)
        _, states = self.opened.step({self.heard: values}, carry["states"], context)
        counts = t < prompt["lengths"] - 1
        return {"states": _where(counts, states, carry["states"]), "t": t + 1}, {}

    # -- writing

    def _write_one(self, context, temperature, carry, noise):
        outputs, states, emitted = self._step(carry["pending"], carry["states"], context)
        if isinstance(self.how, Sampling):
            value = self.head.draw(outputs, noise, temperature)
        else:
            value = self.head.mode(outputs)
        goes_on = ops.logical_not(carry["done"])
        score = carry["score"] + ops.where(
            goes_on, ops.cast(self.head.log_prob(outputs, value), "float32"), 0
        )
        stops = ops.logical_and(goes_on, self._stops(value))
        writes = ops.logical_and(goes_on, ops.logical_not(stops))
        after = {
            "states": _where(goes_on, states, carry["states"]),
            "pending": where_step(goes_on, value, carry["pending"]),
            "position": carry["position"] + 1,
            "length": carry["length"] + ops.cast(writes, "int32"),
            "score": score,
            "done": ops.logical_or(carry["done"], stops),
        }
        emitted["tokens"] = value
        return after, {name: where_step(writes, x, ops.zeros_like(x)) for name, x in emitted.items()}

    def _step(self, value, states, context):
        """Hear a value: what the model says next, the new states, and the alignments by name."""
        outputs, states, gates = self.opened.trace_step({self.heard: value}, states, context)
        return outputs[self.output], states, {k: v for k, v in gates.items() if k.endswith(ALIGNMENT)}

    def _stops(self, value):
        stops = ops.zeros(ops.shape(value)[:1], "bool")
        for token in self.stop:
            stops = ops.logical_or(stops, ops.equal(value, token))
        return stops

    # -- beam search: the rows of `width` hypotheses side by side are one batch

    def _search(self, context, states, pending, length):
        width, rows = self.how.width, ops.shape(pending)[0]
        tile = functools.partial(ops.repeat, repeats=width, axis=0)
        alone = ops.broadcast_to(ops.arange(width) == 0, (rows, width))
        carry = {
            "states": keras.tree.map_structure(tile, states),
            "pending": tile(pending),
            # all but one start out impossible: they would be the same
            "log_prob": ops.where(alone, 0.0, -float("inf")),
            "length": ops.zeros((rows, width), "int32"),
            "done": ops.zeros((rows, width), "bool"),
        }
        context = {name: tile(x) for name, x in context.items()}
        step = functools.partial(self._write_one, context, None)
        carry, emitted = unfold(step, carry, length, lambda carry: ops.all(carry["done"]))
        best = self.how.n_best
        found = _traced_back(emitted, rows, width)
        return {
            **{name: x[:, :best] for name, x in found.items()},
            "lengths": carry["length"][:, :best],
            "scores": self._ranked(carry["log_prob"], carry["length"], carry["done"])[:, :best],
            "stopped": carry["done"][:, :best],
        }

    def _write_one_each(self, context, temperature, carry, noise):
        """One step of every hypothesis; those that go on best take the places of the others."""
        outputs, states, alignments = self._step(carry["pending"], carry["states"], context)
        rows, width = ops.shape(carry["done"])[0], self.how.width
        log_probs = ops.cast(self.head.log_probs(outputs), "float32")
        classes = log_probs.shape[-1]
        log_probs = ops.reshape(log_probs, (rows, width, classes))
        # what is done stays as it is: one candidate, in the place of the first class
        stays = ops.where(ops.arange(classes) == 0, 0.0, -float("inf"))
        done = carry["done"][..., None]
        candidates = carry["log_prob"][..., None] + ops.where(done, stays, log_probs)
        ranked = self._ranked(candidates, carry["length"][..., None], done, more=1)
        _, chosen = ops.top_k(ops.reshape(ranked, (rows, width * classes)), width)
        parent, token = chosen // classes, ops.cast(chosen % classes, "int32")

        def of_parent(x):
            return ops.take_along_axis(x, parent, axis=1)

        was_done = of_parent(carry["done"])
        stops = ops.logical_and(ops.logical_not(was_done), self._stops_each(token))
        writes = ops.logical_not(ops.logical_or(was_done, stops))
        flat_parent = ops.reshape(parent + ops.arange(rows)[:, None] * width, (-1,))
        flat_goes_on = ops.reshape(ops.logical_not(was_done), (-1,))
        old_pending = ops.take(carry["pending"], flat_parent, axis=0)
        after = {
            "states": keras.tree.map_structure(lambda x: ops.take(x, flat_parent, axis=0), states),
            "pending": ops.where(
                flat_goes_on, ops.cast(ops.reshape(token, (-1,)), old_pending.dtype), old_pending
            ),
            "log_prob": ops.take_along_axis(ops.reshape(candidates, (rows, width * classes)), chosen, axis=1),
            "length": of_parent(carry["length"]) + ops.cast(writes, "int32"),
            "done": ops.logical_or(was_done, stops),
        }
        emitted = {"tokens": ops.where(writes, token, 0), "parent": parent}
        for name, x in alignments.items():
            x = ops.reshape(ops.take(x, flat_parent, axis=0), (rows, width, -1))
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
        """The step, compiled on JAX, without gradients on PyTorch; on TensorFlow all of `run` is compiled."""
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
