"""Streams over a loaded SavedModel: sequences that come in pieces. Needs TensorFlow and NumPy, not Keras."""

import numpy as np
import tensorflow as tf

from keras_gates.serving.program import NotNativeError, Program
from keras_gates.serving.values import (
    by_name,
    check_shape,
    convert,
    listed,
    shown,
    to_array_like,
    to_array_of,
    to_tensor,
    unnamed,
)


class Stream:
    """Sequences that are pushed in pieces, with the state kept in between.

    However a sequence is divided into pushes, the outputs are those of the whole.

    Args:
        served: a `ServedModel` with the endpoint `"step"`.
        batch_size: number of sequences processed in parallel.
        state: the `state` of another stream to continue from, also one pickled in another process.

    Attributes:
        state: the states of the model's layers: a dict of NumPy arrays by name. It may be pickled, and set.
    """

    def __init__(self, served, batch_size=1, state=None):
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"`batch_size` must be a positive integer; got {batch_size!r}.")
        self.served = served
        self.batch_size = batch_size
        self._step = served.signature("step")
        self._specs = self._step.structured_input_signature[1]
        self._takes_text = "tokenize" in served.saved.signatures
        whole = served.signature("serving_default").structured_outputs
        self._ranks = {name: x.shape.rank for name, x in whole.items()}
        self.reset()
        if state is not None:
            self.state = state

    def reset(self):
        """Return to the states before the first step."""
        self._keep(self.served.signature("initial_state")(batch_size=tf.constant(self.batch_size)))

    def _keep(self, state):
        self._state = state

    @property
    def state(self):
        return {name: np.array(value) for name, value in self._state.items()}

    @state.setter
    def state(self, state):
        if not isinstance(state, dict) or state.keys() != self._state.keys():
            given = listed(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"`state` must be a dict of {listed(self._state)}; got {given}.")
        self._keep({name: self._like(name, state[name], now) for name, now in self._state.items()})

    def _like(self, name, value, now):
        """A value as what is now in its place: of the same dtype and shape."""
        return convert(name, value, tf.TensorSpec(now.shape, now.dtype))

    def push(self, inputs):
        """Take one step, or a chunk of several, and return its outputs.

        Args:
            inputs: the inputs of one step, `(batch, …)`, or of a chunk, `(batch, time, …)`. For a model
                of text a list of `batch` strings of whole words (or a string, if the batch size is one):
                they are a chunk, split into tokens; or `{"tokens": …}`, as the endpoint `tokenize` returns
                them.

        Returns:
            For one step its output, `(batch, …)`. For a chunk the outputs of all its steps,
            `(batch, time, …)`, or, from a model that gives one output for a sequence, the one for all
            steps pushed so far. A dict by name where the model has several outputs.

        Raises:
            TypeError, ValueError: as `ServedModel`; or the chunk holds no step.
        """
        if self._takes_text and not isinstance(inputs, dict):
            inputs = self._tokenized([inputs] if isinstance(inputs, str) else inputs)
        tensors, in_time = self._converted(inputs)
        if not in_time:
            return unnamed(self._advance(tensors))
        lengths = {tensors[name].shape[1] for name in in_time}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(f"A chunk must hold one step or more; got {listed(lengths)} steps.")
        chunks = {name: tensors.pop(name) for name in in_time}
        outputs = self._advance_through(chunks, tensors)
        return unnamed({name: self._joined(name, x) for name, x in outputs.items()})

    def _tokenized(self, texts):
        return self.served.answer("tokenize", texts)

    def _converted(self, inputs):
        """The inputs as tensors by name, and the names of those that are chunks."""
        specs = {name: spec for name, spec in self._specs.items() if name not in self._state}
        given = by_name(inputs, specs)
        tensors = {name: to_tensor(name, given[name], spec.dtype) for name, spec in specs.items()}
        in_time = {name for name, spec in specs.items() if tensors[name].shape.rank == spec.shape.rank + 1}
        for name, spec in specs.items():
            time = [None] if name in in_time else []
            check_shape(name, tensors[name], tf.TensorShape([self.batch_size, *time, *spec.shape[1:]]))
        return tensors, in_time

    def _advance(self, inputs):
        """Take one step, and return its outputs by name."""
        result, before = self._step(**inputs, **self._state), self._state
        self._keep({name: result[name] for name in before})
        return {name: result[name] for name in result if name not in before}

    def _advance_through(self, chunks, others):
        """Take the steps of a chunk, and return their outputs, `(batch, time, …)`, by name."""
        outputs, state = self.served.scan(frozenset(chunks))(chunks, others, self._state)
        self._keep(state)
        return outputs

    def _joined(self, name, steps):
        """The outputs of the steps of a chunk: all of them, or the last if a sequence has one output."""
        return steps if self._ranks[name] == len(steps.shape) else steps[:, -1]


class NativeStream(Stream):
    """A `Stream` whose steps NumPy computes, without calling TensorFlow: see `keras_gates.serving.program`.

    Results are NumPy arrays, the same within rounding. A stream keeps its state alone: the weights and the
    memory that a step needs belong to the model, for all streams of one batch size together. Streams may run
    in several threads, each in one. Words are looked up in the vocabulary; TensorFlow tokenizes other texts.

    Raises:
        ValueError: as `Stream`; or a layer of the model needs an operation that NumPy does not have, or
            computes in half precision; or an input beside the sequences has an axis without a fixed size.
    """

    def __init__(self, served, batch_size=1, state=None):
        super().__init__(served, batch_size, state)
        self._idle = served.idle_programs[batch_size]
        program = self._taken()  # now, so that a model which NumPy cannot compute is refused
        self._given = {name: x for name, x in program.inputs.items() if name not in self._state}
        self._idle.append(program)

    def _taken(self):
        """A program that no stream is running. It goes back to the idle ones."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._program()

    def _program(self):
        specs = {
            name: tf.TensorSpec([self.batch_size, *spec.shape[1:]], spec.dtype)
            for name, spec in self._specs.items()
        }
        for name, spec in specs.items():
            if not spec.shape.is_fully_defined():
                raise NotNativeError(
                    f"No native stream: the input {name!r} has an axis of any size, "
                    f"{shown(spec.shape)}; use native=False."
                )
        return Program(self.served.step_graph, specs)

    def _keep(self, state):
        self._state = {name: np.array(x) for name, x in state.items()}

    def _like(self, name, value, now):
        return to_array_like(name, value, now)

    def _tokenized(self, texts):
        if not texts or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return super()._tokenized(texts)
        rows = [self.served.tokens_of(text) for text in texts]
        if len(rows) == 1:
            return {"tokens": rows[0]}
        tokens = np.zeros((len(rows), max(row.shape[1] for row in rows)), rows[0].dtype)
        for padded, row in zip(tokens, rows, strict=True):
            padded[: row.shape[1]] = row
        return {"tokens": tokens}

    def _converted(self, inputs):
        given, arrays, in_time = by_name(inputs, self._given), {}, set()
        for name, place in self._given.items():
            x = arrays[name] = to_array_of(name, given[name], place.dtype)
            time = []
            if x.ndim == place.ndim + 1:
                in_time.add(name)
                time = [None]
            if x.shape[:1] + x.shape[1 + len(time) :] != place.shape:
                check_shape(name, x, tf.TensorShape([self.batch_size, *time, *place.shape[1:]]))
        return arrays, in_time

    def _advance(self, inputs):
        return {name: x[:, 0] for name, x in self._through([inputs], 1).items()}

    def _advance_through(self, chunks, others):
        length = next(iter(chunks.values())).shape[1]
        steps = ({**others, **{name: x[:, t] for name, x in chunks.items()}} for t in range(length))
        return self._through(steps, length)

    def _through(self, steps, length):
        """Take steps, and return their outputs, `(batch, time, …)`, by name; if one fails, take none.

        Args:
            steps: for each of them its inputs, arrays by name.
            length: how many they are.
        """
        program, states = self._taken(), self._state
        outputs = {
            name: np.empty((len(x), length, *x.shape[1:]), x.dtype)
            for name, x in program.outputs.items()
            if name not in states
        }
        try:
            for t, inputs in enumerate(steps):
                program.run(inputs, states)
                states = program.states
                for name, x in outputs.items():
                    x[:, t] = program.outputs[name]
            for name, kept in self._state.items():
                kept[...] = states[name]
        except IndexError as error:
            raise ValueError(f"The inputs {listed(inputs)} are out of range: {error}.") from error
        finally:
            self._idle.append(program)
        return outputs


def scan_of(step, in_time):
    """The endpoint `step` over the steps of a chunk; see `ServedModel.scan`."""
    specs = step.structured_input_signature[1]
    carried = specs.keys() & step.structured_outputs.keys()
    names = [name for name in step.structured_outputs if name not in carried]

    def scanned(chunks, others, states):
        chunks = {name: tf.experimental.numpy.swapaxes(x, 0, 1) for name, x in chunks.items()}
        length = tf.shape(next(iter(chunks.values())))[0]
        like = {name: tf.TensorShape(specs[name].shape) for name in states}

        def one_step(t, states, arrays):
            result = step(**{name: x[t] for name, x in chunks.items()}, **others, **states)
            after = {name: tf.ensure_shape(result[name], like[name]) for name in states}
            return t + 1, after, {name: array.write(t, result[name]) for name, array in arrays.items()}

        arrays = {name: tf.TensorArray(step.structured_outputs[name].dtype, length) for name in names}
        _, states, arrays = tf.while_loop(lambda t, *_: t < length, one_step, (0, states, arrays))
        outputs = {name: array.stack() for name, array in arrays.items()}
        return {name: tf.experimental.numpy.swapaxes(x, 0, 1) for name, x in outputs.items()}, states

    def longer(name):
        return tf.TensorSpec([None, None, *specs[name].shape[1:]], specs[name].dtype)

    given = [
        {name: longer(name) for name in in_time},
        {name: specs[name] for name in specs if name not in in_time and name not in carried},
        {name: specs[name] for name in specs if name in carried},
    ]
    return tf.function(scanned, input_signature=given, autograph=False)
