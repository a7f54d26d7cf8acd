"""One step of a model, and the check on random inputs that steps give what the whole sequence gives."""

import keras
import numpy as np
from keras import ops

from keras_gates.layers.stepping import Step, identifier, named_states, plain_loops
from keras_gates.opened.graph import CallError, WithMask, crossing, depending, mask_of, replay
from keras_gates.opened.places import unused, walk
from keras_gates.opened.whole import NotStepwiseError, listed, not_stepwise

TRIED_BATCH, TRIED_STEPS = 2, 4
# Other free axes have a different size, so that none is mistaken for time.
TRIED_SIZE = 7


class Steps:
    """A model split at its stepped inputs: what is computed once, and one step of the rest.

    The layers run as they are, on sequences of one step, except for the recurrent ones, which start from the
    given states, and those that pool over time, which pool all steps so far.

    Args:
        whole: a `Whole`.
        recurrent, poolings: the layers of the model that have states, by place.

    Attributes:
        inputs: the inputs of one step by name, as `keras.InputSpec`.
        context_inputs: the other inputs of the model by name, symbolic tensors.
        context_specs: what `context` returns, by name, as `keras.InputSpec`.
        outputs: the names of the outputs of a step.
        recurrent, poolings: the layers that a step reaches, by place.
        carried: the states by name, as `keras.InputSpec`.
        starts_from_context: whether a layer starts from a state that comes from the context.

    Raises:
        NotStepwiseError: no output depends on the stepped inputs, or a layer reads steps other than the
            current one.
    """

    def __init__(self, whole, recurrent, poolings):
        self.whole = whole
        stepped = [whole.inputs[name] for name in whole.stepped]
        calls = depending(whole.calls, stepped)
        reached = {id(x) for x in stepped} | {id(x) for call in calls for x in call.tensors}
        outputs = {name: x for name, x in whole.outputs.items() if id(x) in reached}
        _check_depends(whole, outputs)
        self.outputs = list(outputs)
        self.inputs = {
            name: keras.InputSpec(x.dtype, (x.shape[0], *x.shape[2:]))
            for name, x in zip(whole.stepped, stepped, strict=True)
        }
        self.context_inputs = {name: x for name, x in whole.inputs.items() if name not in whole.stepped}
        inside = {id(layer) for call in calls for layer in _layers_in(call)}
        self.recurrent = {place: layer for place, layer in recurrent.items() if id(layer) in inside}
        self.poolings = {place: layer for place, layer in poolings.items() if id(layer) in inside}
        try:
            with plain_loops(recurrent.values()):
                sample = self._split(calls, stepped, outputs)
                self._try_out(calls, sample)
        except CallError as error:
            raise not_stepwise(error.layer, whole.over) from error.__cause__

    # -- the split

    def _split(self, calls, stepped, outputs):
        """Make the models of the two sides, connected by the context; return an example of the context."""
        entering = self._named(crossing(calls, stepped, outputs.values()))
        self._before = keras.Model(list(self.context_inputs.values()), entering) if entering else None
        self._mask_names = {name: unused(f"{name}_mask", entering, "_") for name in entering}
        # Only a run shows which tensors carry a mask: a layer may set one that its symbolic call does not.
        sample = self._crossing({name: _sample(x, TRIED_SIZE) for name, x in self.context_inputs.items()})
        self.context_specs = {}
        for name, tensor in entering.items():
            for key in (name, self._mask_names[name]):
                if key in sample:
                    self.context_specs[key] = _spec(sample[key], tensor.shape)
        # What attentions make of a memory joins the context when a step has told what that is.
        self._entering, self._prepared = list(self.context_specs), {}
        given = {
            name: keras.Input(batch_shape=like.shape, dtype=like.dtype, name=name)
            for name, like in self.context_specs.items()
        }
        again = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in stepped]
        replaced = {id(x): y for x, y in zip(stepped, again, strict=True)}
        for name, tensor in entering.items():
            mask = given.get(self._mask_names[name])
            replaced[id(tensor)] = given[name] if mask is None else WithMask()([given[name], mask])
        self._calls, new = replay(calls, replaced)
        self._given = [*again, *given.values()]
        self._after = keras.Model(self._given, {name: new[id(x)] for name, x in outputs.items()})
        return sample

    def _named(self, tensors):
        """The tensors that cross, named after the inputs and layers that they come from."""
        names = {id(x): name for name, x in self.context_inputs.items()}
        names |= {id(x): call.layer.name for call in self.whole.calls for x in call.tensors}
        named = {}
        for tensor in tensors:
            named[unused(identifier("context", names[id(tensor)]), named, "_")] = tensor
        return named

    def context(self, inputs):
        _check_names("The context", inputs, self.context_inputs)
        context = self._crossing(inputs)
        if not self._prepared:
            return context
        batch_size = ops.shape(next(iter(context.values())))[0]
        _, made = self._run(self._after, self._first(batch_size), {}, context)
        return {**context, **{name: made.prepared[name] for name in self._prepared}}

    def _crossing(self, inputs):
        """What the context inputs give to the steps, masks included."""
        if self._before is None:
            return {}
        given = self._before([inputs[name] for name in self.context_inputs], training=False)
        context = {}
        for name, tensor in given.items():
            mask = mask_of(tensor)
            context[name] = tensor
            if mask is not None:  # in a step, masks are inputs like others: the tensor itself carries none
                context |= {name: ops.copy(tensor), self._mask_names[name]: mask}
        return context

    def step(self, inputs, states, context):
        """One step: the outputs by name, and the `Step` that ran."""
        _check_names("A step", inputs, self.inputs)
        _check_names("A step", context, self.context_specs, "a context")
        outputs, made = self._run(self._after, inputs, states, context)
        return {name: x[:, 0] if name in self._in_time else x for name, x in outputs.items()}, made

    def _run(self, model, inputs, states, context):
        tensors = [
            ops.expand_dims(ops.convert_to_tensor(inputs[name], x.dtype), 1)
            for name, x in self.inputs.items()
        ]
        made = Step(states, {name: context[name] for name in self._prepared if name in context})
        with made.of(self.recurrent, self.poolings):
            return model([*tensors, *(context[name] for name in self._entering)], training=False), made

    def _first(self, batch_size):
        """Inputs of a step that is made for what comes of the context alone."""
        return {name: ops.zeros((batch_size, *x.shape[1:]), x.dtype) for name, x in self.inputs.items()}

    def initial_states(self, context, batch_size):
        if batch_size is None and not context:
            raise ValueError("Give `batch_size`: the model has no context that determines it.")
        if batch_size is None:
            batch_size = ops.shape(next(iter(context.values())))[0]
        states = {
            name: ops.zeros((batch_size, *like.shape[1:]), like.dtype) for name, like in self.carried.items()
        }
        for place, layer in self.recurrent.items():
            states |= named_states(place, layer, layer.get_initial_state(batch_size))
        if self.starts_from_context:
            states |= self.step(self._first(batch_size), {}, context)[1].start
        return states

    # -- the check

    def _try_out(self, calls, context):
        """Run a sequence whole and in steps; a NotStepwiseError names the first layer that differs."""
        samples = {
            name: _sample(x, TRIED_STEPS if name in self.inputs else TRIED_SIZE)
            for name, x in self.whole.inputs.items()
        }
        try:
            whole = self._tried_whole(calls, samples)
            steps, first, last = self._tried_in_steps(self._calls, samples, context)
        except Exception as error:
            layer = self._first_to_fail(calls, samples, context)
            raise not_stepwise(layer, self.whole.over) from error
        tensors = [(call.layer, x) for call in calls for x in call.tensors]
        for (layer, like), at_once, *by_step in zip(tensors, whole, *steps, strict=True):
            if not _agree(like, at_once, by_step):
                raise not_stepwise(layer, self.whole.over)
        in_time = {id(x): _in_time(w, s) for (_, x), w, s in zip(tensors, whole, steps[0], strict=True)}
        self._in_time = {
            name
            for name, x in self.whole.outputs.items()
            if name in self.outputs and in_time.get(id(x), True)
        }
        self._prepared = {name: _spec(x, _open_axes(x)) for name, x in first.prepared.items()}
        self.context_specs |= self._prepared
        self.carried = {name: _spec(state, (None, *state.shape[1:])) for name, state in last.after.items()}
        self.starts_from_context = any(
            not np.array_equal(ops.convert_to_numpy(start), ops.convert_to_numpy(first.start[name]))
            for place, layer in self.recurrent.items()
            for name, start in named_states(place, layer, layer.get_initial_state(TRIED_BATCH)).items()
        )

    def _tried_whole(self, calls, samples):
        probe = keras.Model(list(self.whole.inputs.values()), [x for call in calls for x in call.tensors])
        return keras.tree.flatten(probe(list(samples.values()), training=False))

    def _tried_in_steps(self, calls, samples, context):
        probe = keras.Model(self._given, [x for call in calls for x in call.tensors])
        steps, made = [], []
        for t in range(TRIED_STEPS):
            now = {name: samples[name][:, t] for name in self.inputs}
            outputs, step = self._run(probe, now, made[-1].after if made else {}, context)
            steps.append(keras.tree.flatten(outputs))
            made.append(step)
        return steps, made[0], made[-1]

    def _first_to_fail(self, calls, samples, context):
        for call, again in zip(calls, self._calls, strict=True):
            try:
                self._tried_whole([call], samples)
                self._tried_in_steps([again], samples, context)
            except Exception:
                return call.layer
        return calls[-1].layer


def _check_depends(whole, outputs):
    if not whole.stepped:
        raise NotStepwiseError(f"The model {whole.name!r} cannot run step by step: no input is a sequence.")
    for name in whole.stepped:
        if len(whole.inputs[name].shape) < 2:
            raise NotStepwiseError(
                f"The model {whole.name!r} cannot run step by step: its input {name!r} has no time axis."
            )
    if not outputs:
        raise NotStepwiseError(
            f"The model {whole.name!r} cannot run step by step over {listed(whole.stepped)}: "
            "none of its outputs depends on it."
        )


def _check_names(who, given, wanted, what="inputs"):
    if set(given) != set(wanted):
        raise ValueError(
            f"{who} takes {what} with the names {listed(wanted) or 'none'}; got {listed(given)}."
        )


def _layers_in(call):
    return [layer for _, layer in walk(call.layer)] if isinstance(call.layer, keras.Layer) else []


def _spec(tensor, shape):
    """The dtype of a tensor, and of `shape` as many axes as the tensor has."""
    return keras.InputSpec(keras.backend.standardize_dtype(tensor.dtype), shape[: len(tensor.shape)])


def _open_axes(tensor):
    """The shape of what was made of a memory, free in the batch and where its positions may be."""
    rank = len(tensor.shape)
    return (None,) * (rank - 1) + (tensor.shape[-1],) if rank > 2 else (None,) * rank


def _sample(tensor, size):
    """A random input of the shape and dtype of a symbolic one, `size` in its free axes."""
    rng = np.random.default_rng(0)
    free = [TRIED_BATCH, *[size] * len(tensor.shape)]
    shape = [k if known is None else known for known, k in zip(tensor.shape, free, strict=False)]
    if tensor.dtype == "string":
        # of two words, so that what attends to a text has a choice
        return ops.convert_to_tensor(rng.choice(["a b", "b a"], shape))
    if "float" in tensor.dtype:
        return ops.convert_to_tensor(rng.normal(size=shape), tensor.dtype)
    return ops.convert_to_tensor(rng.integers(0, 2, shape), tensor.dtype)


def _in_time(whole, step):
    """Whether the output of a layer has a time axis, judged by its shapes for a sequence and for one step."""
    return whole.shape[1:2] == (TRIED_STEPS,) and step.shape[1:2] == (1,)


def _agree(like, whole, steps):
    """Whether the output of a layer for a sequence equals those of the steps, or that of the last step."""
    steps = ops.concatenate(steps, axis=1) if _in_time(whole, steps[0]) else steps[-1]
    whole, steps = ops.convert_to_numpy(whole), ops.convert_to_numpy(steps)
    if whole.shape != steps.shape:
        return False
    if "float" not in like.dtype:
        return np.array_equal(whole, steps)
    whole, steps = whole.astype("float64"), steps.astype("float64")
    tolerance = {"float16": 1e-2, "bfloat16": 1e-1}.get(like.dtype, 1e-4)
    finite = np.abs(whole)[np.isfinite(whole)]
    atol = tolerance * max(1.0, finite.max(initial=0.0))
    return np.allclose(whole, steps, rtol=0, atol=atol, equal_nan=True)
