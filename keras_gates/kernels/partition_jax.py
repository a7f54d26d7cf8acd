"""A pass of the kernels under JAX over a batch that is split over devices: each computes its own rows.

XLA asks how to split a call when it knows where a program's arrays are. Every device gets the weights whole.
Gradients of weights are summed over the devices at the end of the call: once for a whole sequence, and not at
each of its steps.
"""

import math

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

_WEIGHTS = ("kernel", "recurrent_kernel", "bias", "vectors")
_TAPE = ("gates", "memory")


def over_rows(run, given, wanted):
    """A function like `run` that XLA splits over the rows of a batch, and that `jax.vmap` calls in a loop.

    Args:
        run: a pass, from its inputs to the tuple of its results; it takes any number of rows.
        given, wanted: the names of these, as in `signature`.
    """

    def partition(mesh, inputs, results):
        rows = _rows_of(inputs[0], mesh)

        def on_each_device(*parts):
            found = zip(wanted, run(*parts), strict=True)
            return tuple(
                jax.lax.psum(part, _axes(rows)) if _is_of_weights(name) else part for name, part in found
            )

        return mesh, on_each_device, _placed(wanted, results, rows, mesh), _placed(given, inputs, rows, mesh)

    def infer_from_inputs(mesh, inputs, results):
        """Only the older of XLA's two partitioners asks for this; the newer one goes by the rule."""
        return _placed(wanted, results, _rows_of(inputs[0], mesh), mesh)

    def rule(_, inputs, results):
        return " -> ".join(
            ", ".join(_factors(name, array.rank) for name, array in zip(names, arrays, strict=True))
            for names, arrays in ((given, inputs), (wanted, results))
        )

    split = custom_partitioning(run)
    split.def_partition(partition, infer_sharding_from_operands=infer_from_inputs, sharding_rule=rule)
    return jax.custom_batching.sequential_vmap(split)


def sharding_in_type(name, rank, x):
    """Where a result is, for a mesh whose shardings are part of the arrays' types: where x has its rows."""
    of_x = jax.typeof(x).sharding
    return NamedSharding(of_x.mesh, _spec(name, rank, of_x.spec[0]))


def _placed(names, arrays, rows, mesh):
    return tuple(
        NamedSharding(mesh, _spec(name, len(array.shape), rows))
        for name, array in zip(names, arrays, strict=True)
    )


def _spec(name, rank, rows):
    return PartitionSpec(*(rows if axis == _axis_of_rows(name, rank) else None for axis in range(rank)))


def _factors(name, rank):
    """An array's axes in the notation of a sharding rule: all arrays share the rows, and nothing else."""
    return " ".join("rows" if axis == _axis_of_rows(name, rank) else f"{name}_{axis}" for axis in range(rank))


def _axis_of_rows(name, rank):
    """Where the rows of the batch stand in an array; None in weights and in what is absent, of shape (0,)."""
    if rank == 1 or _is_of_weights(name):
        return None
    return 1 if name in _TAPE else 0


def _is_of_weights(name):
    return name.removeprefix("d_") in _WEIGHTS


def _rows_of(x, mesh):
    """The axes of a mesh over which the rows of x are split; None if they are not, or unevenly.

    XLA pads an uneven split with rows that hold anything, and these would reach the gradients of weights.
    """
    rows = x.sharding.spec[0] if isinstance(x.sharding, NamedSharding) else None
    return None if x.shape[0] % math.prod(mesh.shape[axis] for axis in _axes(rows)) else rows


def _axes(rows):
    return (rows,) if isinstance(rows, str) else rows or ()
