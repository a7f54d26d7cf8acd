"""A loaded SavedModel. Needs TensorFlow and NumPy, not Keras."""

import collections
import functools
import json
import os
import pathlib
import random

import numpy as np
import tensorflow as tf

from keras_gates._arguments import first_line
from keras_gates._files import check_digests
from keras_gates.serving.program import Graph
from keras_gates.serving.streams import NativeStream, Stream, scan_of
from keras_gates.serving.values import by_name, check_shape, convert, to_tensor, unnamed
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
        return unnamed(self.answer("serving_default", inputs))

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
        context = by_name({} if context is None else context, named)
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

    @functools.cached_property
    def idle_programs(self):
        """The programs of `step_graph` that no native stream is running: a list for each batch size."""
        return collections.defaultdict(list)

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
            self._scans[in_time] = scan_of(self.signature("step"), in_time)
        return self._scans[in_time]

    def answer(self, endpoint, inputs):
        """The outputs of an endpoint, a dict, for inputs that are converted first."""
        signature = self.signature(endpoint)
        specs = signature.structured_input_signature[1]
        named = by_name(inputs, specs)
        return signature(**{name: convert(name, named[name], spec) for name, spec in specs.items()})


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
