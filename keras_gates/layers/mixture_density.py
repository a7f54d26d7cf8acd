"""Mixture density: a layer that gives the parameters of a mixture of Gaussians, its loss and its samples."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
from keras import ops

from keras_gates._arguments import Configured, Initializer, check_choice, check_size, fresh, resolve
from keras_gates.cells.base import register

Covariance: TypeAlias = Literal["diagonal", "full"]

# log σ and ρ̂ are clipped to these ranges. So σ is from 1e-7 to 9e6 and |ρ| at most 0.9999, and the density
# of a point 1e9 away has a finite logarithm, and a finite gradient, in float32.
LARGEST_LOG_DEVIATION, LARGEST_CORRELATION_LOGIT = 16.0, 5.0


class Parameters(NamedTuple):
    """The parameters of a mixture of K Gaussians in D dimensions, in float32 or wider.

    log_weights: log π, shape `(..., K)`.
    mean: μ, shape `(..., K, D)`.
    log_deviation: log σ, shape `(..., K, D)`.
    correlation_logit: ρ̂, with ρ = tanh ρ̂, shape `(..., K)`; None for a diagonal covariance.
    pen_logit: the logit of the probability that the pen is lifted, shape `(...)`; None without a pen.
    """

    log_weights: Any
    mean: Any
    log_deviation: Any
    correlation_logit: Any
    pen_logit: Any


@dataclass(frozen=True)
class Mixture:
    r"""A mixture of Gaussians, and the Bernoulli variable of a pen beside it; a head of a model that writes.

        p(y) = Σ_k π_k N(y; μ_k, Σ_k) · e^pen (1 − e)^(1 − pen)

        π = softmax(π̂ (1 + b))        σ = exp(σ̂ − b)        ρ = tanh(ρ̂)        e = sigmoid(ê)

    The outputs of a network, `(..., parameters)`, are in this order π̂ (K), μ (K·D), σ̂ (K·D), with a full
    covariance ρ̂ (K), and with a pen ê (1). A value is a point, followed by the pen, 1 or 0 (lifted after the
    point, or not): `(..., D)` or `(..., D + 1)`. σ̂ is clipped to ±16 and ρ̂ to ±5: so log densities and their
    gradients are finite in float32 for any network.

    Args:
        components: K, the number of Gaussians.
        size: D, the number of dimensions.
        covariance: `"diagonal"`; or `"full"`, which has a correlation ρ, in two dimensions.
        pen: whether there is a pen.
        bias: b, 0 or greater: the greater, the closer samples are to the centres of the probable components
            (neater writing, Graves 2013, §5.4). It changes `draw` alone.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """

    components: int
    size: int = 1
    covariance: Covariance = "diagonal"
    pen: bool = False
    bias: float = 0.0

    def __post_init__(self):
        check_size("components", self.components)
        check_size("size", self.size)
        check_choice("covariance", self.covariance, ("diagonal", "full"))
        if self.covariance == "full" and self.size != 2:
            raise ValueError(f"`covariance` can be 'full' only if `size` is 2; got size {self.size!r}.")
        if not isinstance(self.bias, (int, float)) or not self.bias >= 0:
            raise ValueError(f"`bias` must be a number, 0 or greater; got {self.bias!r}.")

    @property
    def parameter_sizes(self):
        """How many outputs of the network are π̂, μ, σ̂, ρ̂ and ê."""
        correlations = self.components if self.covariance == "full" else 0
        gaussians = self.components * self.size
        return self.components, gaussians, gaussians, correlations, int(self.pen)

    @property
    def value_size(self):
        """The width of a value: of a point and the pen."""
        return self.size + int(self.pen)

    def parameters(self, outputs, bias=0.0, temperature=1.0):
        """The `Parameters` in the outputs of a network, `(..., parameters)`.

        Args:
            outputs: shape `(..., parameters)`.
            bias: b.
            temperature: the logits of π and of the pen are divided by it, and the variances multiplied (Ha &
                Eck 2018, A neural representation of sketch drawings, eq. 8).

        Raises:
            ValueError: the outputs have another width.
        """
        if outputs.shape[-1] != sum(self.parameter_sizes):
            raise ValueError(
                f"{self} has {sum(self.parameter_sizes)} parameters; "
                f"got outputs of shape {tuple(outputs.shape)}."
            )
        outputs = ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))
        temperature = ops.cast(temperature, outputs.dtype)
        ends = [sum(self.parameter_sizes[: k + 1]) for k in range(4)]
        weights, mean, deviation, correlation, pen = ops.split(outputs, ends, axis=-1)
        by_component = (*ops.shape(outputs)[:-1], self.components, self.size)
        deviation = ops.clip(deviation, -LARGEST_LOG_DEVIATION, LARGEST_LOG_DEVIATION)
        deviation = deviation - bias + ops.log(temperature) / 2
        correlation = ops.clip(correlation, -LARGEST_CORRELATION_LOGIT, LARGEST_CORRELATION_LOGIT)
        return Parameters(
            ops.log_softmax(weights * (1 + bias) / temperature),
            ops.reshape(mean, by_component),
            ops.reshape(deviation, by_component),
            correlation if self.covariance == "full" else None,
            pen[..., 0] / temperature if self.pen else None,
        )

    def log_prob(self, outputs, value):
        """The log density of values `(..., D)` or `(..., D + 1)`, in nats, shape `(...)`."""
        mixture = self.parameters(outputs)
        if value.shape[-1] != self.value_size:
            raise ValueError(
                f"{self} takes values of width {self.value_size}; got values of shape {tuple(value.shape)}."
            )
        value = ops.cast(value, mixture.mean.dtype)
        point, pen = value[..., : self.size], value[..., self.size :]
        # The sum of log σ and of half the squares, over the dimensions. The second dimension of a full
        # covariance is replaced by its part that is not correlated with the first, (z_2 − ρ z_1) / √(1 − ρ²).
        z = (point[..., None, :] - mixture.mean) * ops.exp(-mixture.log_deviation)
        log_volume = ops.sum(mixture.log_deviation, axis=-1)
        if mixture.correlation_logit is not None:
            ratio = ops.cosh(mixture.correlation_logit)  # 1 / √(1 − ρ²)
            rest = (z[..., 1] - ops.tanh(mixture.correlation_logit) * z[..., 0]) * ratio
            z = ops.stack([z[..., 0], rest], axis=-1)
            log_volume = log_volume - ops.log(ratio)
        log_normal = -ops.sum(z * z, axis=-1) / 2 - log_volume - self.size / 2 * math.log(2 * math.pi)
        log_density = ops.logsumexp(mixture.log_weights + log_normal, axis=-1)
        if not self.pen:
            return log_density
        pen, logit = pen[..., 0], mixture.pen_logit
        return log_density + pen * ops.log_sigmoid(logit) + (1 - pen) * ops.log_sigmoid(-logit)

    # -- what `keras_gates.writing.heads` asks of a head

    def noise_size(self, outputs=None):
        """How many uniform numbers a draw needs: one a component, two for two dimensions, one for the pen."""
        return self.components + 2 * math.ceil(self.size / 2) + int(self.pen)

    def draw(self, outputs, noise, temperature=1.0):
        """A value, drawn with uniform numbers in [0, 1), `(..., noise_size)`."""
        mixture = self.parameters(outputs, self.bias, temperature)
        noise = ops.cast(noise, mixture.mean.dtype)
        of_component, of_point, of_pen = ops.split(
            noise, [self.components, self.noise_size() - int(self.pen)], axis=-1
        )
        # The component with the largest log π plus Gumbel noise is a draw from π.
        gumbel = -ops.log(-ops.log(ops.maximum(of_component, 1e-30)))
        mean, deviation, correlation = self._component(mixture, mixture.log_weights + gumbel)
        z = _standard_normal(of_point)[..., : self.size]
        if correlation is not None:
            second = ops.tanh(correlation) * z[..., 0] + z[..., 1] / ops.cosh(correlation)
            z = ops.stack([z[..., 0], second], axis=-1)
        return self._value(mean + ops.exp(deviation) * z, mixture, lambda e: of_pen[..., 0] < e)

    def mode(self, outputs):
        """The mean of the component with the largest weight, and the more probable state of the pen."""
        mixture = self.parameters(outputs)
        mean, _, _ = self._component(mixture, mixture.log_weights)
        return self._value(mean, mixture, lambda e: e > 0.5)

    def _component(self, mixture, scores):
        """The mean, log σ and ρ̂ of the component with the highest score."""
        taken = ops.one_hot(ops.argmax(scores, axis=-1), self.components, dtype=scores.dtype)
        mean, deviation = (
            ops.sum(x * taken[..., None], axis=-2) for x in (mixture.mean, mixture.log_deviation)
        )
        correlation = mixture.correlation_logit
        return mean, deviation, None if correlation is None else ops.sum(correlation * taken, axis=-1)

    def _value(self, point, mixture, is_lifted):
        if not self.pen:
            return point
        lifted = ops.cast(is_lifted(ops.sigmoid(mixture.pen_logit)), point.dtype)
        return ops.concatenate([point, lifted[..., None]], axis=-1)


def _standard_normal(uniform):
    """Independent normal numbers from as many uniform ones in [0, 1), an even number (Box & Muller 1958)."""
    first, second = ops.split(uniform, 2, axis=-1)
    radius = ops.sqrt(-2 * ops.log(1 - first))  # 1 − u is never 0
    angle = 2 * math.pi * second
    return ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=-1)


@register()
class MixtureDensity(Configured, keras.layers.Layer):
    r"""A mixture of Gaussians for what comes next, as a layer: a model that ends with it can write.

        y = x W + b,  the parameters of a `Mixture`, which says what they mean and in which order they stand

        model = keras.Sequential([…, keras_gates.MixtureDensity(20, 2, covariance="full", pen=True)])
        model.compile("adam", model.layers[-1].loss())
        written = keras_gates.write(model, start=[0, 0, 0], length=700, how="sampling")

    W and b are the weights `kernel`, shape `(features, parameters)`, and `bias`.

    Args:
        components: number of Gaussians.
        size: number of dimensions.
        covariance: `"diagonal"`; or `"full"`, in two dimensions (bivariate Gaussians with a correlation).
        pen: whether there is a Bernoulli variable beside the point: whether the pen is lifted after it.
        kernel_initializer, bias_initializer: initializers of the weights.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(..., features)`.

    Returns:
        The parameters, shape `(..., parameters)`.

    Raises:
        TypeError, ValueError: as in `Mixture`.
    """

    source = (
        "Bishop 1994, Mixture density networks; "
        "Graves 2013, Generating sequences with recurrent neural networks, §4.1"
    )

    def __init__(
        self,
        components: int,
        size: int = 1,
        *,
        covariance: Covariance = "diagonal",
        pen: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.components, self.size, self.covariance, self.pen = components, size, covariance, pen
        self.mixture = Mixture(components, size, covariance, pen)
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.bias_initializer = resolve("bias_initializer", bias_initializer)
        self.supports_masking = True

    def build(self, input_shape):
        parameters = sum(self.mixture.parameter_sizes)
        self.kernel = self.add_weight(
            shape=(input_shape[-1], parameters), name="kernel", initializer=fresh(self.kernel_initializer)
        )
        self.bias = self.add_weight(
            shape=(parameters,), name="bias", initializer=fresh(self.bias_initializer)
        )

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.bias

    def loss(self, **kwargs):
        """The `MixtureDensityLoss` of this layer; `**kwargs` are those of `keras.losses.Loss`."""
        return MixtureDensityLoss(self.components, self.size, self.covariance, self.pen, **kwargs)

    def sample(self, outputs, bias=0.0, temperature=1.0, seed=None):
        """Draw a value from each of the given mixtures.

        Args:
            outputs: what the layer returned, shape `(..., parameters)`.
            bias, temperature: as in `Mixture` and `Mixture.parameters`.
            seed: an integer, a `keras.random.SeedGenerator`, or None.

        Returns:
            Shape `(..., size)`, with a pen `(..., size + 1)`.
        """
        noise = keras.random.uniform((*ops.shape(outputs)[:-1], self.mixture.noise_size()), seed=seed)
        return replace(self.mixture, bias=bias).draw(outputs, noise, temperature)

    # -- the layer as a head, see `keras_gates.writing.heads`

    def noise_size(self, outputs):
        return self.mixture.noise_size()

    def draw(self, outputs, noise, temperature=1.0):
        return self.mixture.draw(outputs, noise, temperature)

    def mode(self, outputs):
        return self.mixture.mode(outputs)

    def log_prob(self, outputs, value):
        return self.mixture.log_prob(outputs, value)


@register()
class MixtureDensityLoss(keras.losses.Loss):
    """The negative log-likelihood of a `MixtureDensity`, in nats, for `compile`: `−log p(y_true)`.

    Args:
        components, size, covariance, pen: as in `MixtureDensity`, whose method `loss` gives them.
        name, **kwargs: of `keras.losses.Loss`.

    Call arguments:
        y_true: the values, shape `(..., size)`, with a pen `(..., size + 1)`.
        y_pred: the parameters, shape `(..., parameters)`.

    Raises:
        ValueError: `y_true` or `y_pred` has another width.
    """

    def __init__(
        self,
        components: int,
        size: int = 1,
        covariance: Covariance = "diagonal",
        pen: bool = False,
        name: str = "mixture_density_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.mixture = Mixture(components, size, covariance, pen)

    def call(self, y_true, y_pred):
        return -self.mixture.log_prob(y_pred, y_true)

    def get_config(self):
        mixture = self.mixture
        own = {name: getattr(mixture, name) for name in ("components", "size", "covariance", "pen")}
        return {**super().get_config(), **own}
