"""Biases with which gates remember for as long as a task asks."""

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import check_size


@keras.saving.register_keras_serializable("keras_gates")
class Chrono(keras.initializers.Initializer):
    """Chrono initialization, the `bias_initializer` of a cell that shall remember for up to `longest` steps.

    The bias of the gate that keeps the memory starts at log u, with u uniform in [1, longest − 1] for each
    unit, which so keeps what it holds for about u steps; that of the gate that writes starts at −log u, and
    all other biases at zero. Which gates these are, each cell says (`timing`). `unit_forget_bias` then has no
    effect.

    ```python
    keras_gates.LSTM(128, bias_initializer=keras_gates.Chrono(784))
    ```

    Args:
        longest: the number of steps over which something has to be remembered, at least 3.
        seed: an integer, for the same biases each time; None for others in each cell.

    Raises:
        ValueError: `longest` is no whole number of at least 3; or the cell has no gate that keeps its memory.

    Source: Tallec & Ollivier 2018, Can recurrent neural networks warp time?
    """

    def __init__(self, longest: int, seed: int | None = None) -> None:
        self.longest = check_size("longest", longest)
        if longest < 3:
            raise ValueError(f"`longest` must be at least 3; got {longest}.")
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        raise ValueError(
            "Chrono must be told which gates keep the memory, so it can only be the `bias_initializer` of a "
            "cell of keras_gates."
        )

    def of_cell(self, cell: Any, dtype: Any = None) -> Any:
        """The biases of a cell, of shape `(units · gates,)`.

        Cells with two rows of biases have them in the first, beside the inputs.
        """
        if not cell.timing:
            raise ValueError(
                f"{type(cell).__name__} has no gate that keeps its memory, so it takes no Chrono."
            )
        longest = float(self.longest)
        draw = keras.random.uniform((cell.units,), 1.0, longest - 1.0, dtype=dtype, seed=self.seed)
        log = ops.log(draw)
        biases = ops.concatenate([cell.timing.get(gate, 0.0) * log for gate in cell.gates])
        if len(cell.bias_shape) == 1:
            return biases
        return ops.stack([biases, ops.zeros_like(biases)])

    def get_config(self) -> dict[str, Any]:
        return {"longest": self.longest, "seed": self.seed}
