"""The self-test of the kernels where no framework runs: on an emulated processor.

    python tests/kernels/emulated.py write PROBLEMS
    qemu-x86_64 -cpu Haswell -L ROOT python tests/kernels/emulated.py solve PROBLEMS

The first writes the problems with their answers, by the backend at hand. The second solves them with the
prebuilt core that suits the processor of `ROOT/proc/cpuinfo`, which the emulator shows for the real one.
"""

import importlib.util
import pickle
import sys
import types

import numpy as np


def write(path):
    from keras_gates.kernels import selftest

    with open(path, "wb") as file:
        pickle.dump([selftest._problem(example) for example in selftest.EXAMPLES], file)


def without_a_framework():
    """The modules `build` and `core`, imported without running the `__init__` of their packages."""
    (folder,) = importlib.util.find_spec("keras_gates").submodule_search_locations
    for name, place in ("keras_gates", folder), ("keras_gates.kernels", f"{folder}/kernels"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [place]
    from keras_gates.kernels import build, core

    return build, core


def solve(path):
    build, core = without_a_framework()
    print("levels:", *build.levels(), flush=True)
    library = build.load(build.CORE, core.Core, core.Core)
    with open(path, "rb") as file:
        problems = pickle.load(file)
    worst = max(error_of(library.run_arrays, *problem) for problem in problems)
    print(f"{len(problems)} problems, worst relative error {worst:.1e}")
    assert worst < 1e-4


def error_of(run, attributes, inputs, d_results, wanted):
    given = run("forward", attributes, inputs)
    tape = {name: given[name] for name in ("outputs", "gates", "memory")}
    given |= run("backward", attributes, {**inputs, **tape, **d_results})
    # Blocks that a cell does not have are zero, and their gradients mean nothing.
    given["d_recurrent_kernel"] *= inputs["recurrent_kernel"] != 0
    return max(
        np.max(np.abs(given[k] - w), initial=0) / np.max(np.abs(w), initial=1e-6) for k, w in wanted.items()
    )


if __name__ == "__main__":
    {"write": write, "solve": solve}[sys.argv[1]](sys.argv[2])
