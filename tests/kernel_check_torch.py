"""What the fused kernels must do on PyTorch alone: checks of `kernel_check.py`."""

import contextlib
import ctypes
import os
import signal
import threading

import keras
import numpy as np
from kernel_check_tools import answers, check, counted, outcome
from kernel_problems import CELLS, assert_close, random_layer

import keras_gates
from keras_gates.kernels import core


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
