"""The kernels' library, which knows no framework, and its C interface (`source/api.h`)."""

import ctypes
import functools
import itertools
import logging
import struct
import weakref

import numpy as np

from keras_gates.kernels import build
from keras_gates.kernels.signature import BACKWARD_INPUTS, DIFFERENTIATED, INPUTS

_log = logging.getLogger("keras_gates")

ABI_VERSION = 6

_ACTIVATIONS = ("tanh", "linear", "relu")
_ERRORS = {1: ValueError, 2: MemoryError, 3: RuntimeError}


class OpenMP(ctypes.Structure):
    """The addresses of the functions of an OpenMP runtime by which a call runs on its threads."""

    _fields_ = [
        ("GOMP_parallel", ctypes.c_void_p),
        ("omp_get_thread_num", ctypes.c_void_p),
        ("omp_get_num_threads", ctypes.c_void_p),
    ]

    @classmethod
    def of(cls, library):
        """Those of the runtime that a loaded library is linked with; None if there is none."""
        try:
            functions = [getattr(library, name) for name, _ in cls._fields_]
        except AttributeError:
            return None
        return cls(*(ctypes.cast(function, ctypes.c_void_p) for function in functions))


class _Options(ctypes.Structure):
    _fields_ = [
        ("cell", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("output_activation", ctypes.c_int32),
        ("update_writes", ctypes.c_int32),
        ("output_previous", ctypes.c_int32),
        ("constant", ctypes.c_float),
        ("vector_names", ctypes.c_char * 16),
        ("go_backwards", ctypes.c_int32),
        ("zero_output_for_mask", ctypes.c_int32),
        ("show_initial_state", ctypes.c_int32),
        ("shows_memory", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("bfloat16_products", ctypes.c_int32),
        ("openmp", ctypes.POINTER(OpenMP)),
    ]


class _Layout(ctypes.Structure):
    """How many memories a cell has besides h, and the columns of the tape's two parts."""

    _fields_ = [
        ("memories", ctypes.c_int64),
        ("gate_columns", ctypes.c_int64),
        ("memory_columns", ctypes.c_int64),
    ]


class Core:
    """The C interface of a loaded library.

    Args:
        path: of the library.
        mode: the doors of the frameworks look for these functions among the global ones.

    Raises:
        OSError: the library is not one, or has another interface.
    """

    def __init__(self, path, mode=ctypes.RTLD_GLOBAL):
        loaded = ctypes.CDLL(str(path), mode=mode)
        try:
            version = loaded.keras_gates_abi_version()
            self._layout = loaded.keras_gates_layout
            self._passes = {"forward": loaded.keras_gates_forward, "backward": loaded.keras_gates_backward}
            self._take, self._return = loaded.keras_gates_take, loaded.keras_gates_return
            self._cells, self._add_cells = loaded.keras_gates_cells, loaded.keras_gates_add_cells
            name_of = loaded.keras_gates_cell_name
        except AttributeError as error:
            raise OSError("it has no kernels") from error
        if version != ABI_VERSION:
            raise OSError(f"its interface is version {version}, not {ABI_VERSION}")
        self._take.argtypes = [ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]
        self._take.restype = ctypes.c_void_p
        self._return.argtypes, self._return.restype = [ctypes.c_void_p, ctypes.c_size_t], None
        self._layout.argtypes, self._layout.restype = [ctypes.c_int32, ctypes.c_int64], _Layout
        for function in self._passes.values():
            function.argtypes = [
                ctypes.POINTER(_Options), ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t,
            ]  # fmt: skip
        self._cells.restype = ctypes.c_void_p
        self._add_cells.argtypes, self._add_cells.restype = [ctypes.c_void_p], None
        name_of.argtypes, name_of.restype = [ctypes.c_int32], ctypes.c_char_p
        names = itertools.takewhile(bool, map(name_of, itertools.count()))
        self.cells = {name.decode(): place for place, name in enumerate(names)}
        self.added: list[str] = []  # of these, the names that another library serves

    def add_cells(self, other):
        """Serve the cells of another library, too. Raises a `BuildError` if it has a name that is taken."""
        taken = self.cells.keys() & other.cells.keys()
        if taken:
            raise build.BuildError(f"the package has a kernel {min(taken)!r} itself; choose another name.")
        self._add_cells(other._cells())
        self.added = list(other.cells)
        self.cells |= {name: len(self.cells) + place for name, place in other.cells.items()}

    def options(self, attributes, openmp=None):
        """The options of a call, from attributes by name; others are ignored.

        `openmp` says whose threads do the work, an `OpenMP`; None for the library's own.
        """
        same = (
            "update_writes", "output_previous", "constant",
            "go_backwards", "zero_output_for_mask", "show_initial_state", "shows_memory", "threads",
            "bfloat16_products",
        )  # fmt: skip
        return _Options(
            cell=self.cells[attributes["cell"]],
            activation=_ACTIVATIONS.index(attributes["activation"]),
            output_activation=_ACTIVATIONS.index(attributes["output_activation"]),
            vector_names=attributes["vector_names"].encode(),
            openmp=openmp and ctypes.pointer(openmp),
            **{name: attributes[name] for name in same},
        )

    def output_shapes(self, attributes, batch, time, units):
        """The shapes of the forward pass's results; without a tape its parts have no steps."""
        layout = self._layout(self.cells[attributes["cell"]], units)
        on_tape = time if attributes["keep_tape"] else 0
        return {
            "outputs": (
                batch,
                time if attributes["return_sequences"] else on_tape,
                units * (1 + attributes["shows_memory"]),
            ),
            "last": (batch, units),
            "h_out": (batch, units),
            "c_out": (batch, layout.memories * units),
            "gates": (on_tape, batch, layout.gate_columns),
            "memory": (on_tape, batch, layout.memory_columns),
        }

    def buffer(self, size):
        """An object that holds so many bytes: the next call that needs as many finds them once it is gone.

        Raises:
            MemoryError: there are not so many.
        """
        taken = ctypes.c_size_t()
        address = self._take(size, ctypes.byref(taken))
        if not address:
            raise MemoryError(f"keras_gates: not enough memory for {size} bytes.")
        buffer = (ctypes.c_char * size).from_address(address)
        weakref.finalize(buffer, self._return, address, taken.value).atexit = False
        return buffer

    def run(self, way, options, inputs, outputs):
        """Run a pass.

        Args:
            way: `"forward"` or `"backward"`.
            options: from `options`.
            inputs, outputs: an address and a shape for each tensor, in the order of the C interface. The
                tensors are dense and row-major, of float32, the mask of bool; their owner keeps them alive.

        Raises:
            ValueError: a shape does not fit.
            MemoryError: there is not enough for the workspace.
        """
        message = ctypes.create_string_buffer(400)
        status = self._passes[way](options, _packed(inputs), _packed(outputs), message, len(message))
        if status:
            raise _ERRORS[status](message.value.decode())

    def run_arrays(self, way, attributes, inputs):
        """A pass over NumPy arrays, by name: what it gives, by name."""
        names = INPUTS if way == "forward" else BACKWARD_INPUTS
        given = [np.ascontiguousarray(inputs[name]) for name in names]
        if way == "forward":
            shapes = self.output_shapes(attributes, *given[0].shape[:2], inputs["h"].shape[1])
        else:
            shapes = {f"d_{name}": inputs[name].shape for name in DIFFERENTIATED}
        wanted = {name: np.empty(shape, "float32") for name, shape in shapes.items()}
        addressed = ([(a.ctypes.data, a.shape) for a in arrays] for arrays in (given, wanted.values()))
        self.run(way, self.options(attributes), *addressed)
        return wanted


def _packed(tensors):
    """The `KerasGatesTensor`s of addresses and shapes."""
    return b"".join(
        struct.pack("P4q", address, len(shape), *shape, *(0,) * (3 - len(shape)))
        for address, shape in tensors
    )


@functools.cache
def library():
    """The core, from the cache or built now and tested, with the user's own cells if it can have them.

    Raises:
        BuildError: there is none.
    """
    from keras_gates.kernels import selftest

    def load_and_test(path):
        core = Core(path)
        selftest.check(core.run_arrays)
        selftest.check(core.run_arrays, selftest.FEW, products="bfloat16")
        return core

    core = build.load(build.CORE, load_and_test, Core)
    try:
        own = build.own_cells()
        if own:
            # its functions have the names of the core's
            load = functools.partial(Core, mode=ctypes.RTLD_LOCAL)
            core.add_cells(build.load(own, load, load))
    except build.BuildError as error:
        _log.warning("keras_gates runs without the kernels of KERAS_GATES_CELLS: %s", error)
    return core
