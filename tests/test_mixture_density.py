"""Mixture density: its likelihood is SciPy's, finite for any network, and what it draws has its moments."""

import itertools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit, log_expit, logsumexp, softmax
from scipy.stats import multivariate_normal

import keras_gates as kg
from keras_gates.writing import Mixture

FORMS = {
    "one dimension": {"size": 1},
    "diagonal": {"size": 3},
    "bivariate": {"size": 2, "covariance": "full"},
    "bivariate with a pen": {"size": 2, "covariance": "full", "pen": True},
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
HANDWRITING = {"size": 2, "covariance": "full", "pen": True}


def by_name(outputs, components, size, covariance="diagonal", pen=False):
    """Weights, means, covariances and pen rates of one row of raw outputs, read off as the docstring says."""
    outputs = np.asarray(outputs, "float64")
    k, d = components, size
    weights, outputs = softmax(outputs[:k]), outputs[k:]
    means, outputs = outputs[: k * d].reshape(k, d), outputs[k * d :]
    sigmas, outputs = np.exp(outputs[: k * d].reshape(k, d)), outputs[k * d :]
    covariances = np.array([np.diag(sigma**2) for sigma in sigmas])
    if covariance == "full":
        correlations, outputs = np.tanh(outputs[:k]), outputs[k:]
        covariances[:, 0, 1] = covariances[:, 1, 0] = correlations * sigmas.prod(-1)
    assert len(outputs) == pen
    return weights, means, covariances, outputs[0] if pen else None


def reference(outputs, value, components, size, covariance="diagonal", pen=False):
    """The log-likelihood of one value by SciPy, in float64."""
    weights, means, covariances, logit = by_name(outputs, components, size, covariance, pen)
    value = np.asarray(value, "float64")
    each = [
        np.log(w) + multivariate_normal(m, c).logpdf(value[:size])
        for w, m, c in zip(weights, means, covariances, strict=True)
    ]
    lifted = log_expit(logit if value[-1] else -logit) if pen else 0
    return logsumexp(each) + lifted


def problem(components, form, rows=50, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    mixture = Mixture(components, **form)
    outputs = rng.normal(size=(rows, sum(mixture.parameter_sizes)), scale=scale).astype("float32")
    value = rng.normal(size=(rows, mixture.size), scale=2).astype("float32")
    if mixture.pen:
        value = np.append(value, rng.integers(0, 2, (rows, 1)), axis=1).astype("float32")
    return mixture, outputs, value


@each_form
@pytest.mark.parametrize("components", [1, 5])
def test_log_likelihood_is_that_of_scipy(components, form):
    mixture, outputs, value = problem(components, form)
    expected = [reference(o, v, components, **form) for o, v in zip(outputs, value, strict=True)]
    np.testing.assert_allclose(mixture.log_prob(outputs, value), expected, rtol=1e-5, atol=1e-5)


@each_form
def test_gradient_is_that_of_finite_differences(form):
    _, outputs, value = problem(3, form, rows=4)
    layer = kg.MixtureDensity(3, dtype="float64", **form)
    model = keras.Sequential([keras.Input((outputs.shape[-1],), dtype="float64"), layer])
    layer.set_weights([np.eye(outputs.shape[-1]), np.zeros(outputs.shape[-1])])
    outputs = outputs.astype("float64")
    model.compile(keras.optimizers.SGD(1.0), layer.loss(reduction="sum", dtype="float64"))
    model.train_on_batch(outputs, value)
    found = -layer.get_weights()[1]  # the bias is added to all rows: its gradient is the sum over them
    step = 1e-6
    for k, slope in enumerate(found):
        ends = [
            sum(
                reference(o + sign * step * np.eye(len(o))[k], v, 3, **form)
                for o, v in zip(outputs, value, strict=True)
            )
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(-slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-5)


@each_form
@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_likelihood_and_gradient_are_finite_for_any_network(components, form, policy):
    """Each kind of parameter at its extremes, alone and together, for points here and 1e6 away.

    In float16 a gradient may be too large; Keras' optimizer for this policy leaves such a step out.
    """
    layer = kg.MixtureDensity(components, dtype=policy, **form)
    mixture = layer.mixture
    sizes = [size for size in mixture.parameter_sizes if size]
    outputs = [
        np.concatenate([np.full(size, sign) for size, sign in zip(sizes, signs, strict=True)])
        for signs in itertools.product([-1e4, 0, 1e4], repeat=len(sizes))
    ]
    outputs.append(np.resize([1e4, -1e4], sum(sizes)))
    outputs = np.array(outputs * 3, "float32")
    value = np.repeat([0, 1e6, -1e6], len(outputs) // 3)[:, None].repeat(mixture.value_size, 1)
    value[:, mixture.size :] = 1
    model = keras.Sequential([keras.Input((outputs.shape[-1],)), layer])
    layer.set_weights([np.eye(outputs.shape[-1]), np.zeros(outputs.shape[-1])])
    parameters = layer(outputs)
    assert keras.backend.standardize_dtype(parameters.dtype) == layer.compute_dtype
    np.testing.assert_array_equal(parameters, outputs)
    assert np.isfinite(mixture.log_prob(parameters, value)).all()
    for drawn in (layer.sample(parameters, seed=1), layer.mode(parameters)):
        assert np.isfinite(drawn).all()
    optimizer = keras.optimizers.SGD(1e-30)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, layer.loss(reduction="sum"))
    assert np.isfinite(model.train_on_batch(outputs, value))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@each_form
@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_samples_have_the_moments_of_the_mixture(form, bias):
    """Mean, covariance and pen rate within five standard errors; under a bias those of the biased mixture."""
    count, components = 20000, 3
    mixture, outputs, _ = problem(components, form, rows=1, seed=3)
    layer = kg.MixtureDensity(components, **form)
    drawn = np.asarray(layer.sample(np.repeat(outputs, count, axis=0), bias=bias, seed=4), "float64")
    k, gaussians = components, components * mixture.size
    biased = outputs[0].copy()
    biased[:k] *= 1 + bias
    biased[k + gaussians : k + 2 * gaussians] -= bias
    weights, means, covariances, logit = by_name(biased, components, **form)
    mean = weights @ means
    spread = means - mean
    covariance = np.einsum("k,kij->ij", weights, covariances + spread[:, :, None] * spread[:, None, :])
    point = drawn[:, : mixture.size]
    products = (point - mean)[:, :, None] * (point - mean)[:, None, :]
    for sample, expected in ((point, mean), (products, covariance)):
        error = np.abs(sample.mean(0) - expected)
        assert np.all(error < 5 * sample.std(0) / count**0.5), error
    if mixture.pen:
        rate = expit(logit)
        assert set(drawn[:, -1]) == {0, 1}
        assert abs(drawn[:, -1].mean() - rate) < 5 * (rate * (1 - rate) / count) ** 0.5


def test_temperature_scales_the_variance_and_flattens_the_weights():
    """One component: the standard deviation is √τ as large; two far apart: their rates follow π̂/τ."""
    count, temperature = 20000, 4.0
    noise = np.random.default_rng(5).random((count, 3)).astype("float32")
    one = np.asarray(Mixture(1).draw(np.zeros((count, 3), "float32"), noise, temperature))
    np.testing.assert_allclose(one.std(), temperature**0.5, rtol=5 / (2 * count) ** 0.5)
    noise = np.random.default_rng(6).random((count, 4)).astype("float32")
    outputs = np.tile(np.array([2, 0, 50, -50, 0, 0], "float32"), (count, 1))
    rate = (np.asarray(Mixture(2).draw(outputs, noise, temperature)) > 0).mean()
    assert abs(rate - expit(2 / temperature)) < 5 * 0.5 / count**0.5


def test_mode_is_the_centre_of_the_largest_component():
    mixture, outputs, _ = problem(4, HANDWRITING)
    expected = []
    for row in outputs:
        weights, means, _, logit = by_name(row, 4, **HANDWRITING)
        expected.append([*means[weights.argmax()], logit > 0])
    np.testing.assert_allclose(mixture.mode(outputs), expected, rtol=1e-6)


def test_draws_with_the_smallest_and_the_largest_noise_are_finite():
    mixture, outputs, _ = problem(4, HANDWRITING, rows=2)
    for noise in (0.0, np.nextafter(np.float32(1), 0)):
        given = np.full((2, mixture.noise_size()), noise, "float32")
        assert np.isfinite(mixture.draw(outputs, given)).all()


def writer_of_strokes():
    keras.utils.set_random_seed(1)
    layers = [keras.Input((None, 3)), kg.LSTM(8, return_sequences=True), kg.MixtureDensity(4, **HANDWRITING)]
    return keras.Sequential(layers)


def test_a_model_learns_saves_loads_and_writes(tmp_path):
    """It is compiled with the loss of its layer, and goes on from its file without the arguments again."""
    model = writer_of_strokes()
    strokes = np.random.default_rng(2).normal(size=(8, 6, 3)).astype("float32")
    strokes[..., 2] = strokes[..., 2] > 1
    model.compile("adam", model.layers[-1].loss())
    before = model.evaluate(strokes[:, :-1], strokes[:, 1:], verbose=0)
    np.testing.assert_allclose(
        before, -np.mean(model.layers[-1].log_prob(model(strokes[:, :-1]), strokes[:, 1:])), rtol=1e-5
    )
    model.fit(strokes[:, :-1], strokes[:, 1:], epochs=20, verbose=0)
    assert model.evaluate(strokes[:, :-1], strokes[:, 1:], verbose=0) < before
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(strokes), model(strokes))
    assert again.evaluate(strokes[:, :-1], strokes[:, 1:], verbose=0) == model.evaluate(
        strokes[:, :-1], strokes[:, 1:], verbose=0
    )
    asked = {"start": [0, 0, 0], "length": 5, "how": kg.Sampling(seed=3)}
    written = kg.write(model, **asked)
    assert written.tokens.shape == (1, 5, 3) and set(written.tokens[..., 2].flat) <= {0, 1}
    np.testing.assert_array_equal(kg.write(again, **asked).tokens, written.tokens)
    # each value was drawn from what the whole model says after those before it
    heard = np.concatenate([np.zeros((1, 1, 3), "float32"), written.tokens[:, :-1]], axis=1)
    score = np.sum(model.layers[-1].log_prob(model(heard), written.tokens))
    np.testing.assert_allclose(written.scores, [score], rtol=1e-4)


def test_a_biased_head_writes_closer_to_the_centres():
    model = writer_of_strokes()
    head = replace(model.layers[-1].mixture, bias=20.0)
    asked = {"start": [0, 0, 0], "length": 4}
    neat = kg.write(model, head=head, how=kg.Sampling(seed=1), **asked).tokens[..., :2]
    greedy = kg.write(model, how="greedy", **asked).tokens
    loose = kg.write(model, how=kg.Sampling(seed=1), **asked).tokens
    heard = ops.convert_to_tensor(np.concatenate([np.zeros((1, 1, 3), "float32"), greedy[:, :-1]], axis=1))
    centres = model.layers[-1].mode(model(heard))
    np.testing.assert_allclose(centres, greedy, atol=1e-5)
    assert not np.allclose(loose[:, 0, :2], greedy[:, 0, :2], atol=1e-2)
    np.testing.assert_allclose(neat[:, 0], greedy[:, 0, :2], atol=1e-5)


def test_an_exported_model_writes_the_same(tmp_path):
    model = writer_of_strokes()
    how = kg.Sampling()
    kg.export(model, tmp_path / "exported", (), write={"start": [0.0, 0.0, 0.0], "how": how})
    served = kg.load(tmp_path / "exported").write(length=4, temperature=1.0, seed=3)
    ours = kg.write(model, start=[0, 0, 0], length=4, how=kg.Sampling(seed=3))
    np.testing.assert_allclose(served.tokens, ours.tokens, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "use, error, sentence",
    [
        (lambda: kg.MixtureDensity(0), ValueError, "`components` must be a positive integer; got 0"),
        (lambda: kg.MixtureDensity(2.5), TypeError, "`components` must be a positive integer; got 2.5"),
        (lambda: kg.MixtureDensity(2, 3, covariance="full"), ValueError, "only if `size` is 2; got size 3"),
        (
            lambda: kg.MixtureDensity(2, covariance="round"),
            ValueError,
            "`covariance` must be one of .*'round'",
        ),
        (lambda: Mixture(2, bias=-1), ValueError, "`bias` must be a number, 0 or greater; got -1"),
        (lambda: Mixture(2).mode(np.zeros((1, 5))), ValueError, r"has 6 parameters; got .*\(1, 5\)"),
        (
            lambda: Mixture(2).log_prob(np.zeros((1, 6)), np.zeros((1, 2))),
            ValueError,
            r"values of width 1; got values of shape \(1, 2\)",
        ),
    ],
)
def test_says_what_is_wrong(use, error, sentence):
    with pytest.raises(error, match=sentence):
        use()
