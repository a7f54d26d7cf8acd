"""The kernels where activations saturate, and at pre-activations far from zero."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("these are the kernels of TensorFlow", allow_module_level=True)

from test_kernels import needs_kernels  # noqa: E402

import keras_gates  # noqa: E402

FAR = [9.02, 9.5, 20.0, 88.0, 100.0, 1e4, 1e30]


def through(cell, x, states):
    """Output after one step of a fresh layer, whose kernel is the identity for each gate, and its gradients.

    A unit's pre-activations are so the features at its place, one per gate.
    """
    layer = keras_gates.RNN(cell)
    x = tf.constant(np.asarray(x, "float32")[:, None, :])
    layer.build(x.shape)
    for variable in layer.trainable_variables:
        identity = variable.name == "kernel"
        variable.assign(np.eye(*variable.shape) if identity else np.zeros(variable.shape))
    states = [tf.constant(np.asarray(state, "float32")) for state in states]
    with keras_gates.use_kernels("always"), tf.GradientTape() as tape:
        tape.watch([x, *states])
        y = layer(x, initial_state=states, training=True)
    d_x, *d_states = tape.gradient(y, [x, *states])
    return y.numpy(), d_x.numpy()[:, 0], [d.numpy() for d in d_states]


@needs_kernels
@pytest.mark.parametrize("sign", [1, -1])
def test_a_saturated_tanh_is_one_and_passes_no_gradient(sign):
    x = sign * np.array([FAR], "float32")
    y, d_x, _ = through(keras_gates.SimpleRNNCell(len(FAR)), x, [np.zeros(x.shape)])
    assert np.array_equal(y, np.full(y.shape, sign))
    assert not d_x.any()


@needs_kernels
def test_tanh_is_exact_to_the_last_digits():
    """Between the smallest values and where the nearest float is one; to half a digit near one."""
    x = np.concatenate([np.logspace(-6, np.log10(9), 700), [1e-30, 0.0]])[None]
    x = np.concatenate([x, -x]).astype("float32")
    y, _, _ = through(keras_gates.SimpleRNNCell(x.shape[1]), x, [np.zeros(x.shape)])
    exact = np.tanh(x.astype("float64"))
    off = np.abs(y - exact) / np.spacing(np.abs(exact).astype("float32"))
    assert np.max(off) < 4
    assert np.max(off[np.abs(x) > 2]) < 0.6


@needs_kernels
def test_the_derivative_of_an_almost_saturated_tanh_is_right_on_the_whole():
    """Each is known to 1e-7. Were all cut off, a memory that forgets nothing would add up the errors."""
    x = np.linspace(7, 8.9, 1000, dtype="float32")[None]
    _, d_x, _ = through(keras_gates.SimpleRNNCell(x.shape[1]), x, [np.zeros(x.shape)])
    for half in (x < 7.9, x > 7.9):
        assert d_x[half].mean() == pytest.approx(np.mean(np.cosh(x[half].astype("float64")) ** -2), rel=0.03)


@needs_kernels
def test_a_saturated_sigmoid_keeps_all_or_nothing_and_passes_no_gradient():
    """minGRU's gate u far above and far below zero; the state h is one, what is written two."""
    far = np.array([[88.5, 100.0, 1e4, 1e30]])
    units = far.shape[1]
    ones = np.ones((1, units))
    for sign, kept in ((1, 0), (-1, 1)):
        x = np.concatenate([sign * far, 2 * ones], 1)
        y, d_x, (d_h,) = through(keras_gates.MinGRUCell(units), x, [ones])
        assert np.array_equal(y, np.where(kept, 1, 2) * ones)
        assert not d_x[:, :units].any()
        assert np.array_equal(d_h, kept * ones)


def softplus(a):
    return np.logaddexp(0, a)


@needs_kernels
def test_min_lstm_is_finite_and_exact_however_far_its_gates_open_or_shut():
    """Against h' = f h + (1 − f) g with f = σ(softplus(−k_i) − softplus(−k_f)) in double precision."""
    values = np.array([-100.0, -95, -30, -8, -1, 0, 2, 20, 95, 100])
    k_i, k_f = (k.reshape(1, -1) for k in np.meshgrid(values, values))
    units = k_i.shape[1]
    g, h = np.full((1, units), 0.75), np.full((1, units), -0.5)
    y, d_x, (d_h,) = through(keras_gates.MinLSTMCell(units), np.concatenate([k_i, k_f, g], 1), [h])
    f, i = (1 / (1 + np.exp(sign * (softplus(-k_i) - softplus(-k_f)))) for sign in (-1, 1))
    np.testing.assert_allclose(y, f * h + i * g, rtol=1e-6, atol=1e-7)
    slope = (h - g) * f * i
    np.testing.assert_allclose(d_x[:, :units], -slope / (1 + np.exp(k_i)), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(d_x[:, units : 2 * units], slope / (1 + np.exp(k_f)), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(d_x[:, 2 * units :], i, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(d_h, f, rtol=1e-5, atol=1e-7)


@needs_kernels
@pytest.mark.parametrize("forget", ["sigmoid", "exponential"])
def test_slstm_from_its_own_initial_state_is_finite(forget):
    """Where the stabiliser starts: so low that the first step forgets it, whatever its gates."""
    cell = keras_gates.SLSTMCell(4, forget=forget)
    states = [state.numpy() for state in cell.get_initial_state(3)]
    x = np.array([[-100.0], [0.0], [100.0]]) * np.ones((3, 16))
    y, d_x, d_states = through(cell, x, states)
    g, o = np.tanh(x[:, 8:12]), 1 / (1 + np.exp(-x[:, 12:]))
    np.testing.assert_allclose(y, o * g, rtol=1e-6, atol=1e-7)
    assert all(np.isfinite(d).all() for d in (d_x, *d_states))
