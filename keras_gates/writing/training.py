"""What a model that writes hears while it is trained: what it should have said, or what it says itself."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.layers.stepping import where_step
from keras_gates.opened import Opened
from keras_gates.writing.hand import Hand, opened_to_write
from keras_gates.writing.strategies import Sampling
from keras_gates.writing.unfold import unfold


def teacher_forcing(said, start, padding=0):
    """What a model hears, is to say, and which of that counts, from the texts that it is to write.

        heard, said, weights = teacher_forcing(texts, start=1)
        model.fit({"source": sources, "heard": heard}, said, sample_weight=weights)

    With these weights a Keras loss of `reduction="mean_with_sample_weight"`, and the metrics that are given
    as `weighted_metrics`, are means over what is said, whatever the padding.

    Args:
        said: the tokens of each text, with the token that stops it: an array `(batch, time)`, padded at the
            end, or lists of different lengths.
        start: the token that is heard first.
        padding: the token that fills up the rows of `said`, and those of what is returned.

    Returns:
        Arrays `(batch, time)`: what is heard, which is `said` one step later, behind `start`; what is to be
        said; and weights, float32, 1 up to the last token of each row that is no padding and 0 after it.

    Raises:
        ValueError: the tokens are not whole numbers in rows.
    """
    rows = [np.asarray(row) for row in said]
    if not rows or any(row.ndim != 1 or (row.size and row.dtype.kind not in "iu") for row in rows):
        raise ValueError(f"`said` must be rows of tokens, which are whole numbers; got {str(said)[:60]}.")
    whole = np.full((len(rows), max(map(len, rows))), padding, "int32")
    for k, row in enumerate(rows):
        whole[k, : len(row)] = row
    heard = np.concatenate([np.full((len(rows), 1), start, "int32"), whole[:, :-1]], axis=1)
    is_said = (whole != padding)[:, ::-1]
    weights = np.maximum.accumulate(is_said, axis=1)[:, ::-1].astype("float32")
    return heard, whole, weights


class ScheduledSampling(keras.Model):
    """Trains a model that, at some steps, hears what it says itself: scheduled sampling (Bengio et al. 2015).

        training = ScheduledSampling(model, 0.25, over="said")
        training.compile("adam", loss)
        training.fit({"heard": sentences, "said": heard}, to_say, sample_weight=weights)
        model.save("model.keras")

    At each step of a batch a coin is tossed for each row: with `sampling_probability` the row hears, in place
    of the token given, one drawn from what the model says after all that the row has heard so far. The first
    token is always the one given. Then the model is trained on what was heard; no gradient flows through the
    draws, which are made without dropout. It is evaluated on the tokens given. The weights are those of
    `model`, which is the one to save and to write with.

    Args:
        model: as for `keras_gates.write`. Its layers must not be `stateful`: the text that is given does not
            go on from what a row has heard.
        sampling_probability: from 0 to 1, or a function from the number of batches so far, a tensor, to that;
            the paper lets it grow, for example as `lambda i: 1 - k / (k + keras.ops.exp(i / k))`.
        over, output, head: as in `keras_gates.write`.
        seed: a whole number.

    Raises:
        ValueError, keras_gates.opened.NotStepwiseError: as `keras_gates.write`; or the backend is JAX.
    """

    def __init__(
        self,
        model: keras.Model,
        sampling_probability: float | Callable[[Any], Any],
        over: str | None = None,
        output: str | None = None,
        head: Any = None,
        seed: int | None = None,
    ):
        if keras.backend.backend() == "jax":
            raise ValueError("ScheduledSampling trains on TensorFlow or PyTorch; the backend is JAX.")
        is_number = isinstance(sampling_probability, (int, float))
        if not callable(sampling_probability) and not (is_number and 0 <= sampling_probability <= 1):
            raise ValueError(
                "`sampling_probability` must be a number from 0 to 1, or a function; "
                f"got {sampling_probability!r}."
            )
        stateful = [place for place, layer in Opened(model).recurrent.items() if layer.stateful]
        if stateful:
            raise ValueError(f"The layer {stateful[0]!r} must not be stateful.")
        super().__init__(name=f"{model.name}_training")
        self.model, self.sampling_probability = model, sampling_probability
        self._hand = Hand(opened_to_write(model, over), output, head, Sampling())
        if self._hand.tokenizer is not None:
            raise ValueError(f"The model {model.name!r} hears strings: give its part that hears tokens.")
        self._noise = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def train_step(self, data):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((self.mixed(x), y, weights))

    def mixed(self, inputs):
        """The inputs of a batch, in which some of what is heard is what the model says.

        Args:
            inputs: what `fit` gives to the model: a dict of tensors by name, a list, or a single one.
        """
        writer = self._hand.writer
        named = _by_name(inputs, self._hand.opened.inputs)
        context = {name: x for name, x in named.items() if name != writer.heard}
        named[writer.heard] = self._mixed(writer, context, named[writer.heard])
        if isinstance(inputs, dict) and len(named) > 1:
            return named
        return keras.tree.pack_sequence_as(inputs, list(named.values()))

    def _mixed(self, writer, context_inputs, given):
        tokens = ops.argmax(given, axis=-1) if writer.one_hot else given
        tokens = ops.cast(tokens, writer.value.dtype)
        rows, steps = ops.shape(tokens)[:2]
        context = writer.opened.context(context_inputs)
        probability = self.sampling_probability
        probability = probability(self.optimizer.iterations) if callable(probability) else probability
        is_given = keras.random.uniform((rows, steps), seed=self._noise) >= ops.cast(probability, "float32")
        noise = keras.random.uniform((rows, steps, writer.noise_size), seed=self._noise)

        def at(t):
            is_given_now = ops.logical_or(ops.equal(t, 0), is_given[:, t])
            return {"token": tokens[:, t], "is_given": is_given_now, "noise": noise[:, t]}

        def step(carry, now):
            heard = where_step(now["is_given"], now["token"], carry["said"])
            outputs, states, _ = writer.step(heard, carry["states"], context)
            said = ops.cast(writer.head.draw(outputs, now["noise"], 1.0), tokens.dtype)
            return {"states": states, "said": said}, {"heard": heard}

        carry = {"states": writer.opened.initial_states(context, rows), "said": tokens[:, 0]}
        _, emitted = unfold(step, carry, steps, lambda carry: False, at)
        heard = ops.moveaxis(emitted["heard"], 0, 1)
        return ops.one_hot(heard, given.shape[-1]) if writer.one_hot else heard


def _by_name(inputs, names):
    """The inputs of a model as a dict by its names, in its order."""
    if isinstance(inputs, dict) and len(names) > 1:
        return {name: inputs[name] for name in names}
    return dict(zip(names, keras.tree.flatten(inputs), strict=True))
