"""What the fused kernels must do on JAX alone: checks of `kernel_check.py`."""

import re
import shutil
import tempfile

import keras
import numpy as np
from kernel_check_tools import check, counted, variables_of
from kernel_problems import CELLS, assert_close, random_layer

import keras_gates


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
