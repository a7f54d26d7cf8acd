"""A loaded SavedModel. Needs TensorFlow and NumPy, not Keras."""

import functools
import json
import os
import pathlib
import random

import numpy as np
import tensorflow as tf

from keras_gates._arguments import first_line
from keras_gates._files import check_digests
from keras_gates.serving.program import Graph, NotNativeError, Program
from keras_gates.writing.written import Written

# What the endpoints that write take beside a context and a prompt.
OPTIONS = "length", "temperature", "seed"

# Texts whose tokens are remembered: the longest in characters, and how many.
LONGEST_KNOWN, MOST_KNOWN = 64, 2**17


class ServedModel:
    """An exported model as a callable: inputs to outputs, like the Keras model it was exported from.

    Call arguments:
        inputs: what the model takes: one array, list or tensor, or a dict of these by name where it
            takes several. Any dtype that converts without loss of meaning is accepted: int64 for int32
            (if the numbers fit), float64 for float32, `str` for strings.

    Returns:
        The output tensor, or a dict of tensors by name where the model has several.

    Attributes:
        metadata: the content of the model's `metadata.json`, a dict; empty if there is none.
        saved: what `tensorflow.saved_model.load` returned.

    Raises:
        TypeError: a dtype that does not convert.
        ValueError: inputs of the wrong names or shape, numbers out of range, or an endpoint that the
            model was exported without.
    """

    def __init__(self, path):
        path = pathlib.Path(path)
        if not os.path.isfile(path / "saved_model.pb"):
            raise FileNotFoundError(
                f"There is no SavedModel at {path}, a folder with saved_model.pb, or it is not readable."
            )
        try:
            check_digests(path)
            self.metadata = _read_metadata(path / "metadata.json")
            self.saved = tf.saved_model.load(str(path))
            signatures = self.saved.signatures
        except Exception as error:  # for a damaged file, TensorFlow raises whatever its parts raise
            raise ValueError(f"The SavedModel at {path} is damaged: {first_line(error)}") from error
        self._scans = {}
        if "serving_default" not in signatures:
            raise ValueError(
                f"The SavedModel at {path} has no signature serving_default, but "
                f"{', '.join(signatures) or 'none'}."
            )

    def __call__(self, inputs):
        return _unnamed(self.answer("serving_default", inputs))

    def trace(self, inputs):
        """The outputs and every gate and state of every recurrent layer, by name.

        Gates and states have the shape `(batch, time, units)` and are NaN where a step is masked. In
        their names the layer comes first: `lstm_f` is the forget gate of the layer `lstm`.
        """
        return self.answer("trace", inputs)

    def stream(self, batch_size=1, state=None, native=False):
        """A stream that takes sequences in pieces. Several streams are independent.

        Args:
            batch_size, state: as in `Stream`.
            native: whether NumPy computes the steps, which at small batch sizes is many times as fast as
                calling TensorFlow: see `NativeStream`.

        Raises:
            ValueError: as `Stream`; or `native` is given and a layer of the model needs an operation that
                NumPy does not have, or computes in half precision.
        """
        return (NativeStream if native else Stream)(self, batch_size, state)

    def write(self, context=None, prompt=None, length=100, temperature=1.0, seed=None):
        """Let the model write, as it was exported to; see `keras_gates.write`.

        Args:
            context: the other inputs of the model: a dict by name, or the only one.
            prompt: strings, where the model has a vocabulary that takes them apart; or tokens, a list of
                lists, or an array `(batch, time, …)`. It may be left out if the model was exported with
                `start`.
            length: how many tokens to write at most.
            temperature, seed: for a model exported with `Sampling`. Without a seed, another one each time.

        Returns:
            A `keras_gates.writing.Written`, without `state`.
        """
        given = self._begun("write", context, prompt)
        options = self._options("write", length, temperature, seed)
        return _as_written(self.signature("write")(**given, **options))

    def write_stream(self, context=None, prompt=None, length=100, temperature=1.0, seed=None):
        """`write` that yields as it writes: for each step a `Written` of one token; not for a beam search."""
        given = self._begun("write_begin", context, prompt)
        options = self._options("write_on", length, temperature, seed) | {"length": tf.constant(1)}
        return self._written_on(self.signature("write_begin")(**given), options, length)

    def _written_on(self, state, options, length):
        for _ in range(length):
            found = self.signature("write_on")(**state, **options)
            state = {name: found.pop(name) for name in state}
            written = _as_written(found)
            yield written
            if written.stopped.all():
                return

    def _begun(self, endpoint, context, prompt):
        """The context and the prompt as tensors by name."""
        specs = self.signature(endpoint).structured_input_signature[1]
        named = {k: x for k, x in specs.items() if k not in ("prompt", "prompt_lengths", *OPTIONS)}
        context = _by_name({} if context is None else context, named)
        given = {name: convert(name, context[name], spec) for name, spec in named.items()}
        rows = {name: len(x) for name, x in given.items()}
        given |= _prompted(specs, prompt, next(iter(rows.values()), 1))
        rows["prompt"] = len(given["prompt"])
        if len(set(rows.values())) > 1:
            raise ValueError(f"All must have as many rows; got {rows}.")
        lengths = given.get("prompt_lengths")
        if lengths is not None and not self.metadata["write"]["starts"] and not lengths.numpy().all():
            raise ValueError("Nothing would be heard: give a `prompt` in which no row is empty.")
        return given

    def _options(self, endpoint, length, temperature, seed):
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(f"`length` must be a positive integer; got {length!r}.")
        seed = random.randrange(2**31) if seed is None else seed
        specs = self.signature(endpoint).structured_input_signature[1]
        options = zip(OPTIONS, (length, temperature, seed), strict=True)
        return {name: convert(name, value, specs[name]) for name, value in options if name in specs}

    def signature(self, endpoint):
        """The function of an endpoint, as TensorFlow loads it.

        Raises:
            ValueError: the model has no such endpoint.
        """
        if endpoint not in self.saved.signatures:
            reason = self.metadata.get("absent", {}).get(endpoint, "It was exported without it.")
            raise ValueError(f"The model has no endpoint {endpoint!r}. {reason}")
        return self.saved.signatures[endpoint]

    @functools.cached_property
    def step_graph(self):
        """The graph of the endpoint `step`, which native streams follow."""
        return Graph(self.signature("step"))

    def tokens_of(self, text):
        """The tokens of a text, `(1, time)`, as the endpoint `tokenize` gives them.

        Those of the vocabulary's words and of short texts that came before are looked up.
        """
        found = self._known_tokens.get(text)
        if found is None:
            found = self.answer("tokenize", [text])["tokens"].numpy()
            if len(text) <= LONGEST_KNOWN and len(self._known_tokens) < MOST_KNOWN:
                self._known_tokens[text] = found
        return found

    @functools.cached_property
    def _known_tokens(self):
        words = [word for word in self.metadata.get("vocabulary", ()) if isinstance(word, str)]
        if not words:
            return {}
        tokens = self.answer("tokenize", words)["tokens"].numpy()
        lengths = np.count_nonzero(tokens, axis=1)
        return {word: row[None, :length] for word, row, length in zip(words, tokens, lengths, strict=True)}

    def scan(self, in_time):
        """The endpoint `step` over the steps of a chunk, as one graph.

        Args:
            in_time: the names of the inputs that are chunks, a frozenset.

        Returns:
            A function of three dicts, the chunks, `(batch, time, …)`, the other inputs, and the states. It
            returns the outputs of all steps, `(batch, time, …)`, by name, and the states after the last.
        """
        if in_time not in self._scans:
            self._scans[in_time] = _scan(self.signature("step"), in_time)
        return self._scans[in_time]

    def answer(self, endpoint, inputs):
        """The outputs of an endpoint, a dict, for inputs that are converted first."""
        signature = self.signature(endpoint)
        specs = signature.structured_input_signature[1]
        named = _by_name(inputs, specs)
        return signature(**{name: convert(name, named[name], spec) for name, spec in specs.items()})


def _scan(step, in_time):
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


def _read_metadata(path):
    """The content of `metadata.json`, a dict; empty if there is no such file."""
    if not os.path.lexists(path):
        return {}
    if not path.is_file():
        raise ValueError("metadata.json is not a file.")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata.json is not JSON: {first_line(error)}") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("absent", {}), dict):
        raise ValueError("metadata.json is not a dict whose `absent`, if it is there, is a dict too.")
    return metadata


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
            given = _listed(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"`state` must be a dict of {_listed(self._state)}; got {given}.")
        like = {name: tf.TensorSpec(now.shape, now.dtype) for name, now in self._state.items()}
        self._keep({name: convert(name, state[name], like[name]) for name in like})

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
            return _unnamed(self._advance(tensors))
        lengths = {tensors[name].shape[1] for name in in_time}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(f"A chunk must hold one step or more; got {_listed(lengths)} steps.")
        chunks = {name: tensors.pop(name) for name in in_time}
        outputs = self._advance_through(chunks, tensors)
        return _unnamed({name: self._joined(name, x) for name, x in outputs.items()})

    def _tokenized(self, texts):
        return self.served.answer("tokenize", texts)

    def _converted(self, inputs):
        """The inputs as tensors by name, and the names of those that are chunks."""
        specs = {name: spec for name, spec in self._specs.items() if name not in self._state}
        given = _by_name(inputs, specs)
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

    Results are NumPy arrays, the same within rounding. Streams share the weights of the model, and may run in
    several threads, each in one. Words are looked up in the vocabulary; TensorFlow tokenizes other texts.

    Raises:
        ValueError: as `Stream`; or a layer of the model needs an operation that NumPy does not have, or
            computes in half precision; or an input beside the sequences has an axis without a fixed size.
    """

    @functools.cached_property
    def _program(self):
        specs = {
            name: tf.TensorSpec([self.batch_size, *spec.shape[1:]], spec.dtype)
            for name, spec in self._specs.items()
        }
        for name, spec in specs.items():
            if not spec.shape.is_fully_defined():
                raise NotNativeError(
                    f"No native stream: the input {name!r} has an axis of any size, "
                    f"{_shown(spec.shape)}; use native=False."
                )
        return Program(self.served.step_graph, specs)

    @functools.cached_property
    def _given(self):
        """Where the inputs of a step go, by name."""
        names = self._specs.keys() - self._step.structured_outputs.keys()
        return {name: self._program.inputs[name] for name in names}

    @functools.cached_property
    def _named(self):
        """The outputs of a step by name."""
        return {name: x for name, x in self._program.outputs.items() if name not in self._specs}

    @functools.cached_property
    def _moves(self):
        """Calls that make the states after a step those before the next."""
        return [
            functools.partial(before.__setitem__, ..., self._program.outputs[name])
            for name, before in self._state.items()
        ]

    def _keep(self, state):
        inputs = self._program.inputs
        for name, value in state.items():
            inputs[name][...] = value
        self._state = {name: inputs[name] for name in state}

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
        given, arrays, in_time = _by_name(inputs, self._given), {}, set()
        for name, place in self._given.items():
            x = arrays[name] = _to_array_of(name, given[name], place.dtype)
            time = []
            if x.ndim == place.ndim + 1:
                in_time.add(name)
                time = [None]
            if x.shape[:1] + x.shape[1 + len(time) :] != place.shape:
                check_shape(name, x, tf.TensorShape([self.batch_size, *time, *place.shape[1:]]))
        return arrays, in_time

    def _advance(self, inputs):
        self._run(inputs)
        return {name: x.copy() for name, x in self._named.items()}

    def _advance_through(self, chunks, others):
        length = next(iter(chunks.values())).shape[1]
        before = self.state if length > 1 else {}  # a step that fails changes nothing by itself
        outputs = {name: np.empty((len(x), length, *x.shape[1:]), x.dtype) for name, x in self._named.items()}
        try:
            for t in range(length):
                self._run({**others, **{name: x[:, t] for name, x in chunks.items()}})
                for name, steps in outputs.items():
                    steps[:, t] = self._named[name]
        except ValueError:
            self._keep(before)
            raise
        return outputs

    def _run(self, inputs):
        for name, x in inputs.items():
            self._given[name][...] = x
        try:
            self._program.run()
        except IndexError as error:
            raise ValueError(f"The inputs {_listed(inputs)} are out of range: {error}.") from error
        for move in self._moves:
            move()


def _prompted(specs, prompt, rows):
    """A prompt as tensors: strings, or values filled up with zeros and how many of each row count."""
    spec = specs["prompt"]
    if spec.dtype == tf.string:
        prompt = [""] * rows if prompt is None else [prompt] if isinstance(prompt, str) else prompt
        return {"prompt": convert("prompt", prompt, spec)}
    prompt = [[]] * rows if prompt is None else prompt
    lengths = [len(row) for row in prompt]
    padded = np.zeros((len(prompt), max(lengths, default=0), *spec.shape[2:]), spec.dtype.as_numpy_dtype)
    for k, row in enumerate(prompt):
        if lengths[k]:
            row = to_tensor("prompt", row, spec.dtype)
            check_shape("prompt", row, spec.shape[1:])
            padded[k, : lengths[k]] = row
    return {"prompt": tf.constant(padded), "prompt_lengths": tf.constant(lengths, tf.int32)}


def _as_written(found):
    """What an endpoint gives, as a `Written`."""
    found = {name: x.numpy() for name, x in found.items()}
    places = [name for name in found if name.endswith("_alignment")]
    alignments = {name.removesuffix("_alignment"): found.pop(name) for name in places}
    text = found.pop("text", None)
    text = None if text is None else np.char.decode(text.astype(bytes), "utf-8").tolist()
    return Written(**found, alignments=alignments, text=text)


def _unnamed(outputs):
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _by_name(inputs, names):
    if isinstance(inputs, dict) and inputs.keys() == names.keys():
        return inputs
    if len(names) == 1 and not isinstance(inputs, dict):
        return dict.fromkeys(names, inputs)
    given = inputs if isinstance(inputs, dict) else type(inputs).__name__
    raise ValueError(f"The model takes a dict of {_listed(names)}; got {_listed(given)}.")


def _listed(names):
    return names if isinstance(names, str) else ", ".join(sorted(map(str, names)))


def convert(name, value, spec):
    """The value as a tensor of the dtype and shape of `spec`; a TypeError or ValueError gives its name."""
    tensor = to_tensor(name, value, spec.dtype)
    check_shape(name, tensor, spec.shape)
    return tensor


def to_tensor(name, value, dtype):
    """The value as a tensor of a dtype, or a TypeError or ValueError that gives its name."""
    return _to_strings(name, value) if dtype == tf.string else _to_numbers(name, value, dtype)


def check_shape(name, tensor, shape):
    """Raise a ValueError that gives the name unless the tensor has the shape."""
    if not shape.is_compatible_with(tensor.shape):
        raise ValueError(f"`{name}` must have the shape {_shown(shape)}; got {_shown(tensor.shape)}.")


def _to_strings(name, value):
    try:
        return tf.convert_to_tensor(value, tf.string)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be strings, in a list or array; got {_kind(value)}.") from error


def _to_numbers(name, value, wanted):
    if not tf.is_tensor(value):
        value = _to_array(name, value)
    given = tf.as_dtype(value.dtype)
    if given == wanted:
        return tf.convert_to_tensor(value)
    if given == tf.string or not np.can_cast(given.as_numpy_dtype, wanted.as_numpy_dtype, "same_kind"):
        raise TypeError(f"`{name}` must be {wanted.name}; {given.name} does not convert to it.")
    converted = tf.cast(value, wanted)
    if wanted.is_integer and tf.executing_eagerly() and not np.array_equal(converted, value):
        raise ValueError(f"`{name}` must be {wanted.name}; some of its numbers are out of range for that.")
    return converted


def _to_array(name, value):
    try:
        array = np.asarray(value)
        tf.as_dtype(array.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numbers in a rectangular array; got {_kind(value)}.") from error
    if array.dtype == object:
        raise ValueError(f"`{name}` must be numbers in a rectangular array; got {_kind(value)}.")
    return array


def _to_array_of(name, value, dtype):
    """The value as an array of a dtype, or a TypeError or ValueError that gives its name."""
    array = value if isinstance(value, np.ndarray) else _to_array(name, value)
    return array if array.dtype == dtype else to_tensor(name, array, tf.as_dtype(dtype)).numpy()


def _kind(value):
    return f"{type(value).__name__} {str(value)[:60]!r}"


def _shown(shape):
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
