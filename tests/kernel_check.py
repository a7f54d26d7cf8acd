"""What the fused kernels must do on JAX and on PyTorch: a plain script that needs no pytest.

    KERAS_BACKEND=jax python tests/kernel_check.py OUT.json

makes every check of `CHECKS` and writes, for each name, an empty string or why it failed.
`test_kernels_elsewhere.py` reads them.
"""

import contextlib
import ctypes
import functools
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import traceback

# Two devices for JAX, which reads this when it starts.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"

import keras
import numpy as np
from kernel_problems import CELLS, random_layer
from own_kernel import my_cell, write_header

import keras_gates
from keras_gates.kernels import core, operation

BACKEND = keras.backend.backend()
TOLERANCE = 2e-5
CHECKS, ONLY = {}, {}  # by name: a function, and the only backend that has it
# One of each kind of state, weight and product; the self-test of a fresh build tries every kernel.
SOME = [
    "simple",
    "indrnn",
    "lstm",
    "peephole previous",
    "peephole-only",
    "gru",
    "gru before",
    "slstm",
    "clockwork",
    "depth-gated",
]


def check(name, *arguments, only=None):
    def enter(function):
        CHECKS[name], ONLY[name] = functools.partial(function, *arguments), only
        return function

    return enter


@contextlib.contextmanager
def counted():
    """A list that grows by one with every call of the kernels."""
    calls, run = [], operation.run
    operation.run = lambda *given: calls.append(given) or run(*given)
    try:
        yield calls
    finally:
        operation.run = run


@contextlib.contextmanager
def logged():
    """A list of the messages that the package logs."""
    said, log, handler = [], logging.getLogger("keras_gates"), logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)


def assert_close(got, want):
    assert got.keys() == want.keys()
    for name, expected in want.items():
        scale = max(np.max(np.abs(expected), initial=0), 1e-3)
        error = np.max(np.abs(got[name] - expected), initial=0) / scale
        assert error < TOLERANCE, f"{name} is off by {error:.1e} of its largest value"


def answers(layer, x, states, mask, cotangents, twice=False):
    """Results and the gradients of their weighted sum, by name; or the gradients of a function of those."""
    find = {"jax": answers_of_jax, "torch": answers_of_torch}[BACKEND]
    results, gradients = find(layer, x, states, mask, cotangents, twice)
    return {f"{k}": keras.ops.convert_to_numpy(value) for k, value in enumerate([*results, *gradients])}


def variables_of(layer):
    """The values of the trained variables, and of the others."""
    return ([v.value for v in vs] for vs in (layer.trainable_variables, layer.non_trainable_variables))


def answers_of_jax(layer, x, states, mask, cotangents, twice):
    import jax

    trained, others = variables_of(layer)

    def loss(x, states, trained):
        x = x.astype(layer.compute_dtype)  # as `__call__` would
        results, _ = layer.stateless_call(
            trained, others, x, initial_state=list(states), mask=mask, training=True
        )
        return sum((r * c).sum() for r, c in zip(results, cotangents, strict=True)), results

    def of_gradients(*given):
        gradients, _ = jax.grad(loss, (0, 1, 2), has_aux=True)(*given)
        return sum(jax.numpy.sin(g).sum() for g in jax.tree.leaves(gradients)), ()

    mask = None if mask is None else jax.numpy.asarray(mask)
    function = jax.jit(jax.grad(of_gradients if twice else loss, (0, 1, 2), has_aux=True))
    gradients, results = function(*jax.tree.map(jax.numpy.asarray, (x, states)), trained)
    return results, jax.tree.leaves(gradients)


def answers_of_torch(layer, x, states, mask, cotangents, twice):
    import torch

    x, *states = (torch.tensor(a, requires_grad=True) for a in (x, *states))
    sources = [x, *states, *(v.value for v in layer.trainable_variables)]
    mask = None if mask is None else torch.tensor(mask.copy())
    results = layer(x, initial_state=states, mask=mask, training=True)
    total = sum((r * torch.tensor(c)).sum() for r, c in zip(results, cotangents, strict=True))
    differentiate = functools.partial(torch.autograd.grad, inputs=sources, materialize_grads=True)
    gradients = differentiate(total, create_graph=twice)
    if twice:
        results, gradients = [], differentiate(sum(torch.sin(g).sum() for g in gradients))
    return [r.detach() for r in results], gradients


def compare(make, problem, twice=False, **arguments):
    """Kernels beside the plain path, from the same weights and random seeds."""
    found = []
    for when in ("always", "never"):
        layer, question = random_layer(make, problem, **arguments)
        with keras_gates.use_kernels(when), counted() as calls:
            found.append(answers(layer, *question, twice))
        assert bool(calls) == (when == "always")
    assert_close(*found)


for _name in CELLS if os.environ.get("KERAS_GATES_FULL_GRID") else SOME:

    @check(f"the plain path's values and gradients: {_name}", _name)
    def _(name):
        compare(CELLS[name], (5, 7, 9, 20, "holes", False))


@check("without a mask, over many rows and units")
def _():
    compare(CELLS["lstm"], (33, 9, 65, 70, "none", False))


@check("backwards")
def _():
    compare(CELLS["gru"], (3, 5, 4, 6, "left", True))


@check("the last output alone, zero where masked")
def _():
    compare(CELLS["lstm"], (3, 5, 4, 6, "right", False), return_sequences=False, zero_output_for_mask=True)


@check("dropout by the same masks")
def _():
    dropping = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
    compare(CELLS["gru"], (5, 7, 9, 20, "holes", False), arguments=dropping)


@check("an unrolled layer")
def _():
    found = []
    for when in ("always", "never"):
        layer, question = random_layer(CELLS["lstm"], (3, 5, 4, 6, "left", False), unroll=True)
        with keras_gates.use_kernels(when):
            found.append(answers(layer, *question))
    assert_close(*found)


for _name in ("gru", "peephole"):

    @check(f"second derivatives: {_name}", _name)
    def _(name):
        compare(CELLS[name], (3, 4, 5, 6, "holes", False), twice=True)


@check("a residual cell adds nothing to a masked step, or the input of an earlier one")
def _():
    compare(lambda units: keras_gates.ResidualCell(keras_gates.GRUCell(units)), (3, 6, 5, 5, "holes", True))


@check("zoneout draws for all steps at once")
def zoneout_draws_for_all_steps():
    layer = keras_gates.RNN(
        keras_gates.ZoneoutCell(keras_gates.GRUCell(40), zoneout=0.3), return_sequences=True
    )
    x = np.random.default_rng(0).normal(size=(20, 30, 3)).astype("float32")
    with counted() as calls:
        y = keras.ops.convert_to_numpy(layer(x, training=True))
    assert calls
    assert abs(np.mean(y[:, 1:] == y[:, :-1]) - 0.3) < 0.02


for _name in ("FGR", "clockwork"):

    @check(f"as the plain path under mixed_bfloat16, and no less exact: {_name}", _name)
    def as_exact_under_bfloat16(name):
        make, problem, policy = CELLS[name], (33, 9, 31, 40, "holes", False), "mixed_bfloat16"
        with keras_gates.use_kernels("never"):
            layer, question = random_layer(make, problem)
            exact = answers(layer, *question)  # single precision is exact beside bfloat16
        found = []
        for when in ("always", "never"):
            layer, question = random_layer(make, problem, arguments={"dtype": policy}, dtype=policy)
            with keras_gates.use_kernels(when), counted() as calls:
                found.append(answers(layer, *question))
            assert bool(calls) == (when == "always")
        fused, plain = found
        assert any(value.dtype.name == "bfloat16" for value in plain.values())
        for k, want in exact.items():
            assert fused[k].dtype == plain[k].dtype
            error, allowed = (np.sqrt(np.mean((given[k] - want) ** 2)) for given in found)
            assert error <= allowed, f"{k} is off by {error:.1e}, plainly by {allowed:.1e}"


@check("other dtypes take the plain path")
def _():
    for dtype in ("float64", "bfloat16"):
        # PyTorch draws no orthogonal matrix in bfloat16
        cell = keras_gates.LSTMCell(4, dtype=dtype, recurrent_initializer="glorot_uniform")
        layer = keras_gates.RNN(cell, dtype=dtype)
        with counted() as calls:
            layer(np.ones((2, 3, 4), dtype if dtype == "float64" else "float32"), training=True)
        assert not calls


@check("use_kernels chooses")
def _():
    layer, x = keras_gates.LSTM(4), np.ones((2, 3, 4), "float32")
    wanted = {"always": [False, True], "training": [True], "never": []}
    for when, trained in wanted.items():
        with keras_gates.use_kernels(when), counted() as calls:
            layer(x), layer(x, training=True)
        assert [call[-1] for call in calls] == trained, when


@check("fit learns the same")
def fit_learns_the_same():
    found = []
    for when in ("always", "never"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((7, 3)), keras.layers.Masking(), keras.layers.Bidirectional(keras_gates.LSTM(5))]
        )
        model.compile("sgd", "mse")
        x = np.random.default_rng(0).normal(size=(8, 7, 3)).astype("float32")
        x[3:6, 4:] = 0
        with keras_gates.use_kernels(when), counted() as calls:
            model.fit(x, x[:, :4].reshape(8, -1)[:, :10], batch_size=4, shuffle=False, verbose=0)
            found.append(
                {str(k): w for k, w in enumerate([model.predict(x, verbose=0), *model.get_weights()])}
            )
        assert bool(calls) == (when == "always")
    assert_close(*found)


@check("what is not a number stays in its row")
def _():
    layer, (x, *_) = random_layer(CELLS["lstm"], (5, 4, 3, 20, "none", False))
    clean = keras.ops.convert_to_numpy(layer(x, training=True)[0])
    x[2, 1, 0] = np.nan
    y = keras.ops.convert_to_numpy(layer(x, training=True)[0])
    assert np.isnan(y[2, 1:]).all() and np.isfinite(y[2, 0]).all()
    assert np.array_equal(np.delete(y, 2, 0), np.delete(clean, 2, 0))


@check("wrong states are refused in the words of the cell")
def _():
    layer = keras_gates.LSTM(6)
    try:
        layer(np.ones((3, 5, 4), "float32"), initial_state=[np.ones((3, 5), "float32")] * 2, training=True)
    except ValueError as error:
        assert "LSTMCell" in str(error)
    else:
        raise AssertionError("nothing was raised")


@check("no other framework was imported")
def _():
    others = {"tensorflow", "jax", "torch"} - {BACKEND}
    assert not [name for name in others if sys.modules.get(name)]


# -- a kernel of the user's own


@check("the user's own: values and gradients")
def _():
    compare(my_cell(), (5, 7, 9, 20, "holes", True))


@check("the user's own: second derivatives", only="torch")
def _():
    compare(my_cell(), (3, 4, 5, 6, "holes", False), twice=True)


@check("the user's own: inside another cell, with dropout", only="torch")
def _():
    dropping = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
    compare(
        lambda units: keras_gates.ResidualCell(my_cell()(units, **dropping)), (5, 7, 9, 9, "holes", False)
    )


def without_kernel(kernel, **members):
    """What is said of a class derived from `MyCell` that takes the plain path."""
    cell = type("Derived", (my_cell(),), members)
    keras_gates.kernels.register(cell, kernel)
    layer, x = keras_gates.RNN(cell(4)), np.ones((2, 3, 4), "float32")
    with counted() as calls, logged() as said:
        for _ in range(2):
            with contextlib.suppress(NotImplementedError):  # by the plain path
                layer(x, training=True)
    assert not calls
    return said


@check("the user's own: one that does something else than the cell is refused in a sentence")
def _():
    def step(self, x, states, recur):
        (h,), gates = my_cell().step(self, x, states, recur)
        return (0.99 * h,), gates

    (said,) = without_kernel("my_cell", step=step)
    beginning = "keras_gates runs Derived without its kernel: the self-test failed: my_cell is off by"
    assert said.startswith(beginning), said


@check("the user's own: equations that raise an error")
def _():
    def step(self, x, states, recur):
        raise NotImplementedError("Nobody has written this yet.")

    (said,) = without_kernel("my_cell", step=step)
    assert said == "keras_gates runs Derived without its kernel: Nobody has written this yet."


@check("the user's own: a kernel that nobody has written is missed in a sentence")
def _():
    (said,) = without_kernel("other")
    assert said == "keras_gates runs Derived without its kernel: KERAS_GATES_CELLS has no kernel 'other'."


@check("the user's own: a class that no kernel can serve is refused in a sentence")
def _():
    class Scaled(my_cell()):
        def __init__(self, units, *, scale=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.scale = scale

    for cell, reason in {
        keras_gates.LSTM: "derived from keras_gates.cells.GatedCell; got",
        keras_gates.LSTMCell: "the package has the kernel of LSTMCell.",
        Scaled: "no arguments of its own, which no kernel knows; got Scaled with scale.",
        type("Heavy", (my_cell(),), {"build_own": lambda *_: None}): "no weights of its own",
    }.items():
        try:
            keras_gates.kernels.register(cell, "my_cell")
        except (TypeError, ValueError) as error:
            assert reason in str(error)
        else:
            raise AssertionError(f"{cell} was registered")


# -- JAX


def traced_by_jax(training):
    """A function of sequences, and whether its lowered text holds a kernel."""
    import jax

    layer = keras_gates.LSTM(4)
    layer.build((2, 3, 4))
    function = jax.jit(lambda x: layer(x, training=training))
    x = jax.numpy.ones((2, 3, 4))
    return function, x, "keras_gates_kernel" in function.lower(x).as_text()


@check("vmap goes row by row", only="jax")
def _():
    import jax

    layer, x = keras_gates.LSTM(4), np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype("float32")
    layer.build(x.shape[1:])
    gradient = jax.grad(lambda x: layer(x, training=True).sum())
    assert_close({"x": jax.vmap(gradient)(x)}, {"x": np.stack([gradient(each) for each in x])})


# With and without memories and vectors; with shardings that are part of the arrays' types, and others.
for _name, _mesh in (("peephole previous", "Auto"), ("gru", "Auto"), ("lstm", "Explicit")):

    @check(f"a batch that is split over devices: {_name}, {_mesh}", _name, _mesh, only="jax")
    def _(name, mesh):
        """Each computes its own rows; the gradients of weights are added up once for the whole sequence."""
        function, given, split = split_over_two(name, (4, 5, 3, 6, "none", False), mesh)
        assert_close(*(arrays_of(function(*arguments)) for arguments in (split, given)))
        program = function.lower(*split).compile().as_text()
        for way in ("forward", "backward"):  # x or its gradient, of two rows
            assert re.search(rf"f32\[2,5,[36]\].*keras_gates_kernel.*{way}", program), way
        assert "all-gather" not in program
        sums = len(re.findall(r" all-reduce(?:-start)?\(", program))
        assert 0 < sums <= len(given[0]), f"{sums} sums of the gradients of {len(given[0])} weights"
        assert " while(" not in program


@check("a batch that is split by the older of XLA's two partitioners", only="jax")
def _():
    import jax

    before = jax.config.jax_use_shardy_partitioner
    jax.config.update("jax_use_shardy_partitioner", False)
    try:
        function, given, split = split_over_two("lstm", (4, 5, 3, 6, "none", False), "Auto")
        assert_close(*(arrays_of(function(*arguments)) for arguments in (split, given)))
        assert "all-gather" not in function.lower(*split).compile().as_text()
    finally:
        jax.config.update("jax_use_shardy_partitioner", before)


@check("a batch that is split, some rows and steps of it masked", only="jax")
def _():
    function, given, split = split_over_two("lstm", (4, 5, 3, 6, "holes", True), "Auto")
    assert_close(*(arrays_of(function(*arguments)) for arguments in (split, given)))


@check("weights that are split over devices are put together", only="jax")
def _():
    import jax

    function, given, split = split_over_two("lstm", (4, 5, 3, 6, "none", False), "Auto")
    places = split[1].sharding.mesh
    columns = jax.sharding.NamedSharding(places, jax.sharding.PartitionSpec(None, "batch"))
    kernel, *others = split[0]
    split = [jax.device_put(kernel, columns), *others], split[1]
    assert_close(*(arrays_of(function(*arguments)) for arguments in (split, given)))


@check("rows that devices cannot share evenly", only="jax")
def _():
    import jax

    function, (weights, x), split = split_over_two("lstm", (6, 5, 3, 6, "none", False), "Auto")
    halves = split[1].sharding

    def of_five(weights, x):
        return function(weights, jax.lax.with_sharding_constraint(x[:5], halves))

    assert_close(*(arrays_of(jax.jit(f)(weights, given)) for f, given in ((of_five, x), (function, x[:5]))))


@check("vmap over a batch that is split over devices", only="jax")
def _():
    import jax

    function, (weights, x), split = split_over_two("gru", (4, 5, 3, 6, "none", False), "Auto")
    several = jax.jit(jax.vmap(function, (None, 0)))
    rows = jax.sharding.NamedSharding(split[1].sharding.mesh, jax.sharding.PartitionSpec(None, "batch"))
    stacked = jax.numpy.stack([x, 2 * x, x - 1])
    assert_close(*(arrays_of(several(weights, given)) for given in (jax.device_put(stacked, rows), stacked)))


def split_over_two(name, problem, axis_type):
    """A gradient, its arguments (weights, x) on one device, and with the rows of x split over two."""
    import jax

    layer, (x, _, mask, cotangents) = random_layer(CELLS[name], problem)
    trained, others = variables_of(layer)

    def loss(trained, x):
        results, _ = layer.stateless_call(trained, others, x, mask=mask, training=True)
        return ((results[0] - cotangents[0][: len(x)]) ** 2).sum()

    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType[axis_type],))
    rows, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*a)) for a in (("batch",), ()))
    given = list(trained), jax.numpy.asarray(x)
    split = jax.device_put(given[0], whole), jax.device_put(given[1], rows)
    return jax.jit(jax.grad(loss, (0, 1))), given, split


def arrays_of(tree):
    import jax

    return {str(k): np.asarray(value) for k, value in enumerate(jax.tree.leaves(tree))}


@check("a function that infers is exported without kernels", only="jax")
def _():
    import jax

    function, x, holds = traced_by_jax(training=False)
    assert not holds
    jax.export.export(function)(x)


@check("predict takes the kernels where nothing is exported", only="jax")
def _():
    model = keras.Sequential([keras.Input((5, 3)), keras_gates.LSTM(4)])
    x, found = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32"), []
    for when in ("everywhere", "always"):
        model.compile()  # so that predict is traced again
        with keras_gates.use_kernels(when), counted() as calls:
            found.append({"y": model.predict(x, verbose=0)})
        assert bool(calls) == (when == "everywhere")
    assert_close(*found)


@check("a function that trains is not exported, in a sentence that says what to do", only="jax")
def _():
    import jax

    function, x, holds = traced_by_jax(training=True)
    assert holds
    try:
        jax.export.export(function)(x)
    except ValueError as error:
        assert "Call_keras_gates.use_kernels_never_before_exporting" in str(error)
    else:
        raise AssertionError("it was exported")


@check("a door that XLA refuses does not load", only="jax")
def _():
    """It refuses a second one under the names of the first, as it refuses one for a newer XLA."""
    from keras_gates.kernels import build, on_jax

    on_jax.library()
    kept = build.cache_folder() / build.file_name(on_jax.part())
    with tempfile.TemporaryDirectory() as folder:
        try:
            on_jax.load(shutil.copy(kept, folder))
        except OSError as error:
            assert "handler registration" in str(error)
        else:
            raise AssertionError("it was loaded")


# -- PyTorch


@check("the operators keep the rules of PyTorch", only="torch")
def _():
    """Schema, registration for autograd, and results without data that are shaped as those with data.

    Without a mask: what stands on the tape of a masked step is whatever was in memory.
    """
    import torch

    from keras_gates.kernels import on_torch

    calls, forward = [], on_torch._forward
    on_torch._forward = lambda *given: calls.append(given) or forward(*given)
    layer, (x, states, *_) = random_layer(CELLS["peephole"], (2, 3, 4, 5, "none", False))
    try:
        layer(torch.tensor(x, requires_grad=True), initial_state=list(map(torch.tensor, states)))
    finally:
        on_torch._forward = forward
    given = [
        a.detach().clone().requires_grad_(a.requires_grad) if isinstance(a, torch.Tensor) else a
        for a in calls[0]
    ]
    torch.library.opcheck(forward, tuple(given))


@check("compiled by PyTorch", only="torch")
def _():
    import torch

    layer, x = keras_gates.LSTM(4, return_sequences=True), torch.ones(2, 3, 4)
    plain = layer(x, training=True)
    compiled = torch.compile(lambda x: layer(x, training=True), backend="eager")
    assert_close({"y": compiled(x).detach().numpy()}, {"y": plain.detach().numpy()})


@check("exported by PyTorch without kernels", only="torch")
def _():
    import torch

    model = keras.Sequential([keras.Input((3, 4)), keras_gates.LSTM(4)])
    x = torch.ones(2, 3, 4)
    exported = torch.export.export(model, (x,), strict=False)
    assert "keras_gates" not in str(exported.graph)
    assert_close({"y": exported.module()(x).detach().numpy()}, {"y": model(x).detach().numpy()})


@check("transformed by torch.func", only="torch")
def _():
    import torch

    layer, x = keras_gates.LSTM(4), torch.randn(3, 2, 5, 4)
    layer.build(x.shape[1:])
    gradient = torch.func.grad(lambda x: layer(x, training=True).sum())
    each = torch.stack([gradient(one) for one in x])
    x.requires_grad_()
    (whole,) = torch.autograd.grad(sum(layer(one, training=True).sum() for one in x), x)
    assert_close({"x": each.detach().numpy()}, {"x": whole.numpy()})


@check("tensors on no CPU take the plain path", only="torch")
def _():
    import torch

    layer = keras_gates.LSTM(4)
    layer.build((2, 3, 4))
    with counted() as calls, contextlib.suppress(RuntimeError):
        layer(torch.ones(2, 3, 4, device="meta"), training=True)
    assert not calls


def team_of(size):
    """An OpenMP runtime whose teams have `size` threads, and a list that grows by one with every team."""
    teams, here = [], threading.local()
    member = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

    def run(place, work, data):
        here.place = place
        member(work)(data)

    def parallel(work, data, *_):
        teams.append(size)
        others = [threading.Thread(target=run, args=(place, work, data)) for place in range(1, size)]
        for other in others:
            other.start()
        run(0, work, data)
        for other in others:
            other.join()

    unsigned = ctypes.c_uint
    functions = [
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, unsigned, unsigned)(parallel),
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: here.place),
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: size),
    ]
    runtime = core.OpenMP(*(ctypes.cast(function, ctypes.c_void_p) for function in functions))
    runtime.functions = functions  # which must live as long
    return runtime, teams


@contextlib.contextmanager
def on_threads_of(runtime):
    """Where the kernels run on the threads of an OpenMP runtime; None for threads of their own."""
    from keras_gates.kernels import on_torch

    usual = on_torch._openmp
    on_torch._openmp = lambda: runtime
    on_torch._parsed.cache_clear()
    try:
        yield
    finally:
        on_torch._openmp = usual
        on_torch._parsed.cache_clear()


@check("on any threads the same to the last bit", only="torch")
def _():
    """On those of PyTorch, on the kernels' own, on teams as large as wanted, smaller and larger."""
    import torch

    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    layer, question = random_layer(CELLS["peephole"], (65, 20, 33, 40, "right", False))
    torch.set_num_threads(2)
    try:
        want = answers(layer, *question)
        for runtime, teams in ((None, []), *map(team_of, (1, 2, 5))):
            with on_threads_of(runtime):
                got = answers(layer, *question)
            assert all(np.array_equal(got[name], want[name]) for name in want)
            assert len(teams) == (2 if runtime and cores > 1 else 0), "one for each pass"
    finally:
        torch.set_num_threads(threads)


@check("the threads are those of PyTorch", only="torch")
def _():
    import torch

    from keras_gates.kernels import on_torch

    assert (on_torch._openmp() is not None) == torch.backends.openmp.is_available()


@check("a child of a fork has no threads of PyTorch and computes all the same", only="torch")
def _():
    layer, question = random_layer(CELLS["lstm"], (4, 3, 2, 5, "none", False))
    want = answers(layer, *question)
    child = os.fork()
    if not child:
        signal.alarm(60)  # one that waits for threads that are gone would wait for ever
        os._exit(bool(outcome(lambda: assert_close(answers(layer, *question), want))))
    assert os.waitpid(child, 0)[1] == 0


def outcome(function):
    try:
        function()
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_GATES_CELLS"] = str(write_header(folder))
        assert operation.available(), "there are no kernels"
    found = {name: outcome(CHECKS[name]) for name in CHECKS if ONLY[name] in (None, BACKEND)}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
