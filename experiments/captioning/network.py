"""The network from a picture, and the words said so far, to the next word."""

import keras
from keras import ops

import keras_gates
from experiments.captioning import TASK
from experiments.common import pictures
from experiments.common.errors import InputError
from keras_gates.cells.wrappers import WrapperCell

CARRIED = ("h", "c")  # the states of a cell that a picture can start; others count or normalise
NARROW = 32  # features of each place that the vector of the whole picture is made of


class Network:
    """Layers that tell from a picture and the words before each place what the word there may be.

    size: the number of words in the vocabulary.
    options: of the command line.
    """

    def __init__(self, size, options):
        if options.doubly_stochastic and options.attention == "none":
            raise InputError("--doubly-stochastic needs --attention soft or hard.")
        self.options = options
        self.encoder = pictures.encoder(options)
        self.places, width = self.encoder.output_shape[1:]
        self.place_vectors = keras.layers.Embedding(self.places, width, name="places")
        self.narrow = keras.layers.Dense(NARROW, name="narrow")
        self.whole = keras.layers.Dense(options.units, activation="relu", name="whole_picture")
        self.embedding = keras.layers.Embedding(size, options.embedding, mask_zero=True, name="embedding")
        cell = keras_gates.cell_classes()[options.cell]
        self.cells = [cell(options.units) for _ in range(options.layers)]
        if options.attention != "none":
            attention = keras_gates.GeneralAttention(hard=options.attention == "hard", name="attention")
            self.cells[-1] = keras_gates.LuongCell(self.cells[-1], attention)
        self.starts = [
            {state: keras.layers.Dense(options.units, "tanh", name=f"{state}_{level}") for state in CARRIED}
            for level in range(1, options.layers + 1)
        ]
        self.logits = keras.layers.Dense(size, name="logits")

    def training(self):
        """The model from pictures and heard words to logits, with the losses that only training has."""
        inputs, features = self._decoded(self.options.doubly_stochastic)
        return keras.Model(inputs, self.logits(features), name=TASK)

    def serving(self):
        """The model from pictures and heard words to the probabilities of the next word."""
        inputs, features = self._decoded()
        softmax = keras.layers.Activation("softmax", name="probabilities")
        return keras.Model(inputs, softmax(self.logits(features)), name=TASK)

    def _decoded(self, doubly_stochastic=None):
        """The symbolic inputs, and what the decoder makes of them at each word."""
        options = self.options
        picture = keras.Input((None, None, 3), dtype="uint8", name="picture")
        heard = keras.Input((None,), dtype="int32", name="heard")
        grid = keras.layers.Dropout(options.picture_dropout)(self.encoder(picture))
        x = self.embedding(heard)
        # whole words, so that the network looks rather than continues a phrase that it knows by heart
        x = keras.layers.Dropout(options.word_dropout, noise_shape=(None, None, 1))(x)
        if options.image == "step":
            x = keras_gates.JoinSteps(name="picture_at_each_step")([x, self._whole_picture(grid)])
        for level, cell in enumerate(self.cells):
            states = self._start(level, grid) if options.image == "state" else None
            x = keras.layers.Dropout(options.dropout)(x)
            attends = isinstance(cell, keras_gates.LuongCell)
            if not attends:
                name = f"{options.cell}_{level + 1}".replace("-", "_")
                x = keras_gates.RNN(cell, return_sequences=True, name=name)(x, initial_state=states)
            elif doubly_stochastic is None:
                decoder = keras_gates.AttentionRNN(cell, return_sequences=True, name="decoder")
                x = decoder(x, memory=self._memory(grid), initial_state=states)
            else:
                x = self._looking_everywhere(doubly_stochastic, cell, x, grid, states)
        return {"picture": picture, "heard": heard}, keras.layers.Dropout(options.dropout)(x)

    def _looking_everywhere(self, weight, cell, x, grid, states):
        """What the decoder gives, in a model that has the loss `DoublyStochastic`."""
        cell = Looking(cell, self.places)
        if states is not None:
            states = [*states, ops.zeros_like(grid[..., 0])]
        decoder = keras_gates.AttentionRNN(cell, return_sequences=True, return_state=True, name="decoder")
        x, *_, looked = decoder(x, memory=self._memory(grid), initial_state=states)
        return DoublyStochastic(weight, name="doubly_stochastic")([x, looked])

    def _memory(self, grid):
        """The grid of features, which do not say where they are, with a learned vector of each place."""
        place = ops.cumsum(ops.ones_like(grid[..., 0], dtype="int32"), axis=1) - 1
        return grid + self.place_vectors(place)

    def _whole_picture(self, grid):
        """One vector of the whole picture, (batch, units)."""
        return self.whole(keras.layers.Flatten()(self.narrow(grid)))

    def _start(self, level, grid):
        """The states from which a level starts, made of the picture."""
        cell, whole = self.cells[level], self._whole_picture(grid)
        return [
            self.starts[level][name](whole) if name in CARRIED else ops.zeros_like(whole[:, :1]) + initial
            for name, initial in zip(cell.states, cell.get_initial_state(1), strict=True)
        ]


class Looking(WrapperCell):
    """A cell that attends, with one more state: how much it has looked at each place so far.

    cell: an `AttentionCell`.
    places: the number of places.
    """

    def __init__(self, cell, places, **kwargs):
        super().__init__(cell, **kwargs)
        self.places = places

    @property
    def attention(self):
        return self.cell.attention

    @property
    def states(self):
        return (*super().states, "looked")

    @property
    def state_size(self):
        return [*super().state_size, self.places]

    def get_initial_state(self, batch_size=None):
        return [*super().get_initial_state(batch_size), ops.zeros((batch_size, self.places))]

    def call_with_gates(self, inputs, states, training=False):
        *states, looked = states
        output, new_states, gates = super().call_with_gates(inputs, states, training)
        return output, [*new_states, looked + gates["alignment"]], gates


class DoublyStochastic(keras.layers.Layer):
    """Adds to the loss how unevenly a caption looked at the places: weight · Σ_i (1 − Σ_t α_ti)².

    This is the regularisation of Xu et al. 2015, eq. 14.

    Called on what passes through unchanged, and on Σ_t α_t, (batch, places).
    """

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight
        self.supports_masking = True

    def call(self, inputs):
        passing, looked = inputs
        self.add_loss(self.weight * ops.mean(ops.sum(ops.square(1 - looked), axis=-1)))
        return passing

    def compute_mask(self, inputs, previous_mask):
        return previous_mask[0]
