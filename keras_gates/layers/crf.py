"""A linear-chain conditional random field (CRF): the tags of a sequence, chosen together.

`CRF` turns logits into a chain of conditional log-probabilities, and everything else reads that chain: the
loss, the decoder, the marginals and the metric. So a model trains with `compile` and `fit`, saves and exports
like any other.
"""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import Configured
from keras_gates.cells.base import register

IMPOSSIBLE = -1e30  # the log-probability of what cannot be; finite, since a gradient of -inf is NaN
MASKED = -1  # in place of a label


@register()
class CRF(Configured, keras.layers.Layer):
    r"""Linear-chain CRF over the logits of a sequence.

        p(y | x) ∝ exp(start[y_1] + Σ_t logits[t, y_t] + Σ_t transitions[y_{t-1}, y_t] + end[y_T])

    Given x this is a Markov chain, and the layer returns the logarithms of its conditional probabilities,
    which it finds by one pass of messages from the last step to the first:

        logits = keras.layers.Dense(labels)(features)
        chain = CRF()(logits)                         # (batch, time, labels, labels)
        model = keras.Model(inputs, chain)
        model.compile("adam", CRFLoss(), metrics=[CRFAccuracy()])
        tagger = keras.Model(inputs, CRFDecoder()(chain))

    The weights are `transitions`, shape `(labels, labels)`, from the row's label to the column's, `start` and
    `end`, shape `(labels,)`. They are zero at first, and the chain then a softmax for each step. `start`
    belongs to the first unmasked step and `end` to the last; a masked step, wherever it is, is passed over.

    Computed in float32 or wider, whatever the dtype policy.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        logits: shape `(batch, time, labels)`, at least one step.
        mask: shape `(batch, time)`, false at padding; by default the mask that the logits carry.

    Returns:
        Shape `(batch, time, labels, labels)`: at `[b, t, i, j]` is log p(y_t = j | y_{t-1} = i, x). At the
        first unmasked step all i have the same row. At a masked step the label stays, with probability one.

    Raises:
        ValueError: the logits are not of shape `(batch, time, labels)`, or the number of labels is unknown.
    """

    source = "Lafferty, McCallum & Pereira 2001, Conditional random fields"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"CRF expects logits of shape (batch, time, labels); got shape {input_shape}.")
        labels = input_shape[-1]
        self.transitions = self._add_scores("transitions", (labels, labels))
        self.start = self._add_scores("start", (labels,))
        self.end = self._add_scores("end", (labels,))

    def _add_scores(self, name, shape):
        return self.add_weight(shape=shape, name=name, initializer="zeros", autocast=False)

    def call(self, logits, mask=None):
        dtype = keras.backend.result_type(logits.dtype, self.variable_dtype, "float32")
        transitions, start, end = (ops.cast(w, dtype) for w in (self.transitions, self.start, self.end))
        logits = ops.cast(logits, dtype)
        there = ops.ones_like(logits[..., 0], "bool") if mask is None else ops.cast(mask, "bool")
        # Padding may hold NaN. Its scores tell `message` what is masked, since on TensorFlow `scan` takes
        # only one array if the number of steps is unknown.
        logits = ops.where(there[..., None], logits, IMPOSSIBLE)

        def message(later, scores):
            """From the score of what follows a step, given its label, to the same for the step before."""
            earlier = ops.logsumexp(transitions + (scores + later)[:, None], axis=-1)
            # What is common to all labels cancels out of the chain; left in, it grows and costs precision.
            earlier = earlier - ops.stop_gradient(ops.max(earlier, axis=-1, keepdims=True))
            there = ops.any(scores > IMPOSSIBLE, axis=-1, keepdims=True)
            return ops.where(there, earlier, later), later

        last = ops.zeros_like(logits[:, 0]) + end
        _, later = ops.scan(message, last, _time_first(logits), reverse=True)
        into = ops.where(_first(there)[..., None, None], start, transitions)
        chain = ops.log_softmax(into + (logits + _time_first(later))[:, :, None], axis=-1)
        # A label may be ruled out by its logit, but then is not as impossible as to leave a masked step.
        chain = ops.maximum(chain, IMPOSSIBLE / 2)
        stays = ops.where(ops.eye(logits.shape[-1], dtype="bool"), 0.0, IMPOSSIBLE)
        return ops.where(there[..., None, None], chain, ops.cast(stays, dtype))

    def compute_output_spec(self, logits, mask=None):
        dtype = keras.backend.result_type(logits.dtype, self.variable_dtype, "float32")
        return keras.KerasTensor((*logits.shape, logits.shape[-1]), dtype)


@register()
class CRFLoss(keras.losses.Loss):
    """Negative log-likelihood of the labels of a sequence under the chain of a `CRF`.

    It is a loss for each step, −log p(y_t | y_{t-1}, x), whose sum over a sequence is −log p(y | x). So it is
    averaged, masked and weighted as the cross-entropy of a softmax is; give weights by sequence, not by step.

    Args:
        name, reduction, dtype: of `keras.losses.Loss`.

    Call arguments:
        y_true: whole numbers, shape `(batch, time)`; any at masked steps. Another label that does not exist
            gives NaN.
        y_pred: what `CRF` returned, shape `(batch, time, labels, labels)`.
    """

    def __init__(
        self, name: str = "crf_loss", reduction: str = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        _check_labels(y_true, y_pred)
        there, count = _unmasked(y_pred), y_pred.shape[-1]
        labels = ops.cast(y_true, "int32")

        def follow(previous, label):
            return ops.where(label == MASKED, previous, label), previous

        steps = _time_first(ops.where(there, labels, MASKED))
        _, previous = ops.scan(follow, ops.zeros_like(labels[:, 0]), steps)
        rows = ops.one_hot(_time_first(previous), count, dtype=y_pred.dtype)
        columns = ops.one_hot(labels, count, dtype=y_pred.dtype)
        losses = -ops.sum(ops.sum(y_pred * rows[..., None], axis=2) * columns, axis=-1)
        exist = ops.logical_and(labels >= 0, labels < count)
        return ops.where(there, ops.where(exist, losses, float("nan")), 0)

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction, "dtype": self.dtype}


@register()
class CRFAccuracy(keras.metrics.MeanMetricWrapper):
    """The share of unmasked steps whose label in the most probable sequence is right.

    Args:
        name, dtype: of `keras.metrics.Metric`.

    Call arguments:
        y_true: whole numbers, shape `(batch, time)`.
        y_pred: what `CRF` returned, shape `(batch, time, labels, labels)`.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(_are_right, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def _are_right(y_true, y_pred):
    _check_labels(y_true, y_pred)
    return ops.equal(ops.cast(y_true, "int32"), decode(y_pred))


@register()
class CRFDecoder(Configured, keras.layers.Layer):
    """The most probable sequence of labels under the chain of a `CRF` (Viterbi's algorithm).

    Args:
        names: the names of the labels, if they mark spans in BIO or BIOES, such as
            `["O", "B-PER", "I-PER"]`: only sequences that are well-formed spans are then returned. Training
            is not constrained, so that labels by hand may contain errors.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        chain: what `CRF` returned, shape `(batch, time, labels, labels)`.

    Returns:
        Whole numbers, shape `(batch, time)`; 0 at masked steps.

    Raises:
        ValueError: `names` is no list of names, a name is neither O nor of the form B-PER, or the number of
            names is not that of the labels.
    """

    source = "Viterbi 1967, Error bounds for convolutional codes"

    def __init__(self, names: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if not (names is None or (isinstance(names, (list, tuple)) and names)):
            raise ValueError(f"`names` must be a list of the labels' names; got {names!r}.")
        self.names = None if names is None else list(names)
        self.supports_masking = True
        self._allowed = None if names is None else spans_allowed(self.names)

    def build(self, input_shape):
        _check_chain(self, input_shape)
        if self.names is not None and len(self.names) != input_shape[-1]:
            raise ValueError(
                f"`names` must have a name for each of the {input_shape[-1]} labels; got {len(self.names)}."
            )

    def call(self, chain):
        return decode(chain, self._allowed)

    def compute_output_spec(self, chain):
        return keras.KerasTensor(chain.shape[:-2], "int32")


@register()
class CRFMarginals(keras.layers.Layer):
    """The probability of each label at each step under the chain of a `CRF`.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        chain: what `CRF` returned, shape `(batch, time, labels, labels)`.

    Returns:
        p(y_t = j | x), shape `(batch, time, labels)`. A masked step repeats the step before it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        _check_chain(self, input_shape)

    def call(self, chain):
        def go_on(before, step):
            now = ops.matmul(before[:, None], ops.exp(step))[:, 0]
            return now, now

        _, marginals = ops.scan(go_on, ops.exp(_beginning(chain)), _time_first(chain))
        return _time_first(marginals)

    def compute_output_spec(self, chain):
        return keras.KerasTensor(chain.shape[:-1], chain.dtype)


def decode(chain, allowed=None):
    """The most probable sequence of labels, int32 `(batch, time)`; 0 at masked steps.

    Args:
        chain: what `CRF` returned.
        allowed: what `spans_allowed` returned, to choose among well-formed spans only.
    """
    there = _unmasked(chain)
    end = 0.0
    if allowed is not None:
        start, transitions, end = (_log(part, chain.dtype) for part in allowed)
        into = ops.where(_first(there)[..., None, None], start, transitions)
        chain = chain + ops.where(there[..., None, None], into, 0)

    def go_on(so_far, step):
        ways = so_far[0][..., None] + step
        now = ops.max(ways, axis=1), ops.cast(ops.argmax(ways, axis=1), "int32")
        return now, now

    beginning = _beginning(chain)
    nowhere = ops.zeros_like(beginning, "int32")
    (best, _), (_, came_from) = ops.scan(go_on, (beginning, nowhere), _time_first(chain))

    def back(label, came_from):
        return ops.take_along_axis(came_from, label[:, None], axis=1)[:, 0], label

    last = ops.cast(ops.argmax(best + end, axis=-1), "int32")
    _, labels = ops.scan(back, last, came_from, reverse=True)
    return ops.where(there, _time_first(labels), 0)


def spans_allowed(names):
    """What may begin, follow and end in well-formed spans: booleans (labels,), (labels, labels), (labels,).

    names: those of the labels, in BIOES if one of them begins with E- or S-, else in BIO.

    In both, I-X and E-X only follow B-X or I-X. In BIOES a span that is open does not end otherwise.

    Raises ValueError if a name is neither O nor of the form B-PER.
    """
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"O|[BIES]-.+", name)):
            raise ValueError(f"`names` must be O or of the form B-PER, I-PER, E-PER or S-PER; got {name!r}.")
    place, kind = np.array([name[0] for name in names]), np.array([name[2:] for name in names])
    goes_on, is_open = np.isin(place, ("I", "E")), np.isin(place, ("B", "I"))
    must_close = is_open if set(place) & {"E", "S"} else np.zeros_like(is_open)
    same = kind[:, None] == kind
    return ~goes_on, np.where(goes_on, is_open[:, None] & same, ~must_close[:, None]), ~must_close


def _log(allowed, dtype):
    return ops.convert_to_tensor(np.where(allowed, 0.0, IMPOSSIBLE), dtype)


def _unmasked(chain):
    """Where the chain has a step that is not masked, `(batch, time)`: only a masked one forbids a change."""
    return chain[..., 0, -1] > IMPOSSIBLE


def _first(there):
    """Where the first unmasked step is, `(batch, time)`."""
    return ops.logical_and(there, ops.cumsum(ops.cast(there, "int32"), axis=1) == 1)


def _beginning(chain):
    """Log-probabilities `(batch, labels)` before the first step: any label will do, so it is the first."""
    first = ops.where(ops.arange(chain.shape[-1]) == 0, 0.0, IMPOSSIBLE)
    return ops.zeros_like(chain[:, 0, 0]) + ops.cast(first, chain.dtype)


def _time_first(x):
    """Swap the axes of batch and time."""
    return ops.swapaxes(x, 0, 1)


def _check_labels(y_true, y_pred):
    if len(y_pred.shape) != 4 or len(y_true.shape) != 2:
        raise ValueError(
            f"Expected labels of shape (batch, time) and what CRF returns, (batch, time, labels, labels); "
            f"got shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )


def _check_chain(layer, shape):
    if len(shape) != 4 or shape[-1] is None or shape[-1] != shape[-2]:
        raise ValueError(
            f"{type(layer).__name__} expects what CRF returns, (batch, time, labels, labels); "
            f"got shape {shape}."
        )
