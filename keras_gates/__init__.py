"""Gated recurrent cells for Keras 3 that can be verified, inspected and exported."""

from keras_gates._version import __version__
from keras_gates.attention import (
    AdditiveAttention,
    AffineAttention,
    Attention,
    AttentionCell,
    BahdanauCell,
    CanvasCell,
    DotAttention,
    DrawAttention,
    DrawCell,
    GeneralAttention,
    GlimpseCell,
    GravesCell,
    LuongCell,
    ReinforceLoss,
    RetinaAttention,
    SoftWindow,
)
from keras_gates.cells.base import GatedCell, cell_classes
from keras_gates.cells.chrono import Chrono
from keras_gates.cells.clockwork import ClockworkCell
from keras_gates.cells.depth_gated import DepthGatedLSTMCell
from keras_gates.cells.gru import GRUCell, MinimalGatedCell
from keras_gates.cells.indrnn import IndRNNCell
from keras_gates.cells.janet import JANETCell
from keras_gates.cells.layer_norm import LayerNormGRUCell, LayerNormLSTMCell, LayerNormSimpleRNNCell
from keras_gates.cells.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell, PeepholeOnlyLSTMCell
from keras_gates.cells.min_rnn import MinGRUCell, MinLSTMCell
from keras_gates.cells.odyssey import (
    ODYSSEY,
    CoupledPeepholeLSTMCell,
    FullGateRecurrenceLSTMCell,
    NoForgetGateLSTMCell,
    NoInputActivationLSTMCell,
    NoInputGateLSTMCell,
    NoOutputActivationLSTMCell,
    NoOutputGateLSTMCell,
)
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.cells.slstm import SLSTMCell
from keras_gates.cells.wrappers import ResidualCell, WrapperCell, ZoneoutCell
from keras_gates.introspect import gradient_flow, trace
from keras_gates.kernels import use_kernels
from keras_gates.layers import earlier as _earlier  # noqa: F401  names that old files contain
from keras_gates.layers.attention import AttentionRNN
from keras_gates.layers.by_name import (
    GRU,
    JANET,
    LSTM,
    SLSTM,
    Clockwork,
    CoupledLSTM,
    CoupledPeepholeLSTM,
    DepthGatedLSTM,
    FullGateRecurrenceLSTM,
    IndRNN,
    LayerNormGRU,
    LayerNormLSTM,
    LayerNormSimpleRNN,
    MinGRU,
    MinimalGated,
    MinLSTM,
    NoForgetGateLSTM,
    NoInputActivationLSTM,
    NoInputGateLSTM,
    NoOutputActivationLSTM,
    NoOutputGateLSTM,
    PeepholeLSTM,
    PeepholeOnlyLSTM,
    SimpleRNN,
    layer_of,
)
from keras_gates.layers.crf import CRF, CRFAccuracy, CRFDecoder, CRFLoss, CRFMarginals
from keras_gates.layers.each_step import EachStep
from keras_gates.layers.joining import JoinSteps
from keras_gates.layers.mixture_density import MixtureDensity, MixtureDensityLoss
from keras_gates.layers.normalized_embedding import NormalizedEmbedding
from keras_gates.layers.pooling import AttentionPooling, MaxPooling, MeanPooling, SumPooling
from keras_gates.layers.rnn import RNN
from keras_gates.layers.spatial_transformer import SpatialTransformer
from keras_gates.migration import from_addons, from_keras
from keras_gates.serving.saved_model import export, load
from keras_gates.writing import Beam, Greedy, Sampling, write

__all__ = [
    "CRF",
    "GRU",
    "JANET",
    "LSTM",
    "ODYSSEY",
    "RNN",
    "SLSTM",
    "AdditiveAttention",
    "AffineAttention",
    "Attention",
    "AttentionCell",
    "AttentionPooling",
    "AttentionRNN",
    "BahdanauCell",
    "Beam",
    "CRFAccuracy",
    "CRFDecoder",
    "CRFLoss",
    "CRFMarginals",
    "CanvasCell",
    "Chrono",
    "Clockwork",
    "ClockworkCell",
    "CoupledLSTM",
    "CoupledLSTMCell",
    "CoupledPeepholeLSTM",
    "CoupledPeepholeLSTMCell",
    "DepthGatedLSTM",
    "DepthGatedLSTMCell",
    "DotAttention",
    "DrawAttention",
    "DrawCell",
    "EachStep",
    "FullGateRecurrenceLSTM",
    "FullGateRecurrenceLSTMCell",
    "GRUCell",
    "GatedCell",
    "GeneralAttention",
    "GlimpseCell",
    "GravesCell",
    "Greedy",
    "IndRNN",
    "IndRNNCell",
    "JANETCell",
    "JoinSteps",
    "LSTMCell",
    "LayerNormGRU",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "LayerNormSimpleRNN",
    "LayerNormSimpleRNNCell",
    "LuongCell",
    "MaxPooling",
    "MeanPooling",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "MinimalGated",
    "MinimalGatedCell",
    "MixtureDensity",
    "MixtureDensityLoss",
    "NoForgetGateLSTM",
    "NoForgetGateLSTMCell",
    "NoInputActivationLSTM",
    "NoInputActivationLSTMCell",
    "NoInputGateLSTM",
    "NoInputGateLSTMCell",
    "NoOutputActivationLSTM",
    "NoOutputActivationLSTMCell",
    "NoOutputGateLSTM",
    "NoOutputGateLSTMCell",
    "NormalizedEmbedding",
    "PeepholeLSTM",
    "PeepholeLSTMCell",
    "PeepholeOnlyLSTM",
    "PeepholeOnlyLSTMCell",
    "ReinforceLoss",
    "ResidualCell",
    "RetinaAttention",
    "SLSTMCell",
    "Sampling",
    "SimpleRNN",
    "SimpleRNNCell",
    "SoftWindow",
    "SpatialTransformer",
    "SumPooling",
    "WrapperCell",
    "ZoneoutCell",
    "__version__",
    "cell_classes",
    "export",
    "from_addons",
    "from_keras",
    "gradient_flow",
    "layer_of",
    "load",
    "trace",
    "use_kernels",
    "write",
]
