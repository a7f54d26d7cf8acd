"""The two passes of the kernels as loops that XLA compiles, for a device that is not a CPU.

They take and give what the fused passes do, by the equations of the cell itself. On a GPU such a loop takes
as long as what it launches: at usual sizes the number of operations in a step counts, not their size. So the
inputs of all steps are projected before the loop, and the gradient of a matrix, a sum over all steps, is one
product behind it; automatic differentiation leaves both inside.
"""

import functools

import jax
from jax import lax
from jax import numpy as jnp

from keras_gates.kernels import plain

_UNROLLED = 4  # steps in a round of a loop; with more there is more to compile


def forward(attributes, *inputs):
    """See `signature.OUTPUTS`. The tape has no steps unless it is kept.

    It is two lists of arrays, time first: the matrix products of each step, and the states before it.
    """
    run = _Run(attributes, *inputs)

    def body(states, given):
        products = []

        def product(factor, matrix):
            products.append(run.product(factor, matrix))
            return products[-1]

        shown, new = run.step(product, run.weights, run.recurrent_mask, states, *given)
        return new, (shown, products, states)

    given = run.projected(run.x, run.kernel, *run.weights[1:]), run.fixed
    states, (shown, *tape) = lax.scan(body, run.separate(run.h, run.c), given, unroll=_UNROLLED)
    if not attributes["keep_tape"]:
        tape = jax.tree.map(lambda part: jnp.zeros((0, *part.shape[1:]), part.dtype), tape)
    outputs = jnp.swapaxes(shown, 0, 1) if attributes["return_sequences"] else jnp.zeros((0,))
    return outputs, shown[-1, :, : run.units], states[0], run.joined(states[1:]), *tape


def backward(attributes, *inputs):
    """See `signature.DIFFERENTIATED`; it computes the elements of each step anew, but no product."""
    *inputs, _, products, before, d_outputs, d_last, d_h, d_c = inputs
    run = _Run(attributes, *inputs)
    _, *weights = run.weights
    projected, gradients_of_projected = jax.vjp(run.projected, run.x, run.kernel, *weights)

    def body(carry, of_step):
        (d_states, *d_weights), (d_shown, *of_step) = carry, of_step
        gradients_of = jax.vmap(functools.partial(_gradients_of_row, run))
        d_read, d_products, d_states, *d_now, factors = gradients_of(
            (d_shown, d_states), run.recurrent_mask, *of_step
        )
        return (d_states, *map(jnp.add, d_weights, d_now)), (d_read, d_products, factors)

    d_shown = jnp.zeros((len(projected[0]), *d_last.shape))
    if attributes["return_sequences"]:
        d_shown = jnp.swapaxes(d_outputs, 0, 1)
    d_shown = d_shown.at[-1, :, : run.units].add(d_last)
    # the gradients of weights are kept row by row, so that no step has to add up those of its rows
    none_yet = (jnp.zeros((len(d_h), *weight.shape)) for weight in weights)
    (d_states, *d_weights), (d_read, d_products, factors) = lax.scan(
        body,
        (run.separate(d_h, d_c), *none_yet),
        (d_shown, projected, run.fixed, products, before),
        reverse=True,
        unroll=_UNROLLED,
    )
    first = jax.tree.map(lambda array: array[0], (projected, run.fixed))
    _, gradient_of_matrices = jax.vjp(functools.partial(_matrices, run, *first), run.weights[0])
    (d_recurrent_kernel,) = gradient_of_matrices(list(map(run.summed, factors, d_products)))
    d_x, d_kernel, *d_more = gradients_of_projected(d_read)
    d_weights = [d.sum(axis=0) + more for d, more in zip(d_weights, d_more, strict=True)]
    d_c = run.joined(d_states[1:]) if run.c.ndim == 2 else run.c
    return d_x, d_kernel, d_recurrent_kernel, *d_weights, d_states[0], d_c


def _gradients_of_row(run, d_results, recurrent_mask, read, fixed, products, states):
    """The gradients of what a row of a step reads, its products, states, bias and vectors; and its factors.

    The factors are what is multiplied by a matrix, one for each product.
    """
    recurrent_kernel, *weights = run.weights

    def again(read, products, states, *weights):
        known, factors = iter(products), []

        def product(factor, matrix):
            factors.append(factor)
            return _known(run.narrow, factor, matrix, next(known))

        results = run.step(product, (recurrent_kernel, *weights), recurrent_mask, states, read, fixed)
        return results, factors

    _, gradients_of, factors = jax.vjp(again, read, products, states, *weights, has_aux=True)
    return *gradients_of(d_results), factors


def _matrices(run, read, fixed, recurrent_kernel):
    """The matrix of each product of a step, a part of the recurrent kernel or what a cell makes of it."""
    found = []

    def product(factor, matrix):
        found.append(matrix)
        return run.product(factor, matrix)

    weights = recurrent_kernel, *run.weights[1:]
    run.step(product, weights, run.recurrent_mask, run.separate(run.h, run.c), read, fixed)
    return found


class _Run:
    """A cell, by its equations, and a sequence that it reads.

    fixed: what has no gradient of what a step reads, time first: zoneout's shares and the mask, or None.
    """

    def __init__(
        self, attributes, x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask, keep
    ):
        self.attributes, self.units, self.narrow = attributes, h.shape[-1], attributes["bfloat16_products"]
        self.x, self.h, self.c = x, h, c
        self.kernel, self.weights = kernel, (recurrent_kernel, bias, vectors)
        self.recurrent_mask = recurrent_mask if recurrent_mask.ndim == 2 else None
        self.fixed = (
            self._in_order(keep) if keep.ndim == 3 else None,
            self._in_order(mask[..., None]) if mask.ndim == 2 else None,
        )

    def _in_order(self, sequence):
        """Time first, in the order of the steps."""
        sequence = jnp.swapaxes(sequence, 0, 1)
        return jnp.flip(sequence, 0) if self.attributes["go_backwards"] else sequence

    def _equations(self, product, kernel, weights):
        cell = plain.equations(self.attributes, self.units, kernel, *weights)
        vars(cell)["product"] = lambda factor, matrix, mask=None: product(
            factor if mask is None else factor * mask, matrix
        )
        return cell

    def product(self, factor, matrix):
        return _product(self.narrow, factor, matrix)

    def summed(self, factor, d_product):
        """The gradient of a matrix: over all steps and rows, the factor times the product's gradient."""
        return self.product(_rows(factor).T, _rows(d_product))

    def projected(self, x, kernel, bias, vectors):
        """The projected inputs of all steps and, in a stack, the memory below, else None."""
        cell = self._equations(self.product, kernel, (self.weights[0], bias, vectors))
        x, features = self._in_order(x), kernel.shape[0]
        return cell.project(x[..., :features]), x[..., features:] if x.shape[-1] > features else None

    def separate(self, h, c):
        """The tuple of states."""
        memories = c.shape[-1] // self.units if c.ndim == 2 else 0
        return (h, *(jnp.split(c, memories, axis=1) if memories else ()))

    def joined(self, memories):
        """The states other than h, side by side."""
        return jnp.concatenate(memories, axis=1) if memories else self.h[:, :0]

    def step(self, product, weights, recurrent_mask, states, read, fixed):
        """What is shown of a step, and the states after it; also for a single row of each array."""
        (x, below), (keep, mask) = read, fixed
        cell = self._equations(product, self.kernel, weights)
        recur = functools.partial(cell.recur, mask=recurrent_mask)
        new, _ = cell.step(x, states if below is None else (*states, below), recur)
        if keep is not None:
            shares = jnp.split(keep, len(states), axis=-1)
            new = [k * a + (1 - k) * b for k, a, b in zip(shares, states, new, strict=True)]
        if mask is not None:
            new = [jnp.where(mask, b, a) for a, b in zip(states, new, strict=True)]
        shown = jnp.concatenate(new[:2], axis=-1) if self.attributes["shows_memory"] else new[0]
        if mask is not None and self.attributes["zero_output_for_mask"]:
            shown = jnp.where(mask, shown, 0)
        return shown, tuple(new)


def _rows(sequence):
    return jnp.reshape(sequence, (-1, sequence.shape[-1]))


def _product(narrow, factor, matrix):
    """The matrix product; in bfloat16, with sums in float32, if it is to be narrow."""
    if not narrow:
        return jnp.matmul(factor, matrix)
    factor, matrix = factor.astype("bfloat16"), matrix.astype("bfloat16")
    return jnp.matmul(factor, matrix, preferred_element_type="float32")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _known(narrow, factor, matrix, product):
    """A product that is known, with the gradient of its factor; that of the matrix is left to the caller."""
    return product


_known.defvjp(
    lambda narrow, factor, matrix, product: (product, matrix),
    lambda narrow, matrix, d: (_product(narrow, d, matrix.T), jnp.zeros_like(matrix), d),
)
