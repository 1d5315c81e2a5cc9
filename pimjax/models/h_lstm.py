"""H-LSTM, hybrid LSTM and encoder-decoder (Bappy et al., IEEE TIP 28(7), 2019, arXiv 1903.02495)."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import Execution
from pimjax.models.resampling import BINS
from pimjax.models.tf_layers import GLOROT, BatchNorm, Conv, ConvNorm, enlarge
from pimjax.models.torch_layers import exact, lower, max_pool, record

SIDE, HIDDEN, PATCHES = 256, 64, 64
SLIM = ("weights", "biases")
# Numbers of the 8×8 patches, row by row, in the order in which the LSTM reads them.
HILBERT = (
    *(0, 1, 9, 8, 16, 24, 25, 17, 18, 26, 27, 19, 11, 10, 2, 3, 4, 12, 13, 5, 6, 7, 15, 14, 22, 23, 31, 30, 29, 21, 20),
    *(28, 36, 44, 45, 37, 38, 39, 47, 46, 54, 55, 63, 62, 61, 53, 52, 60, 59, 58, 50, 51, 43, 35, 34, 42, 41, 33, 32),
    *(40, 48, 49, 57, 56),
)


class HLSTMOutput(NamedTuple):
    """Hold what the network says of B images; class 1 is "manipulated"."""

    logits: jax.Array  # [B, 256, 256, 2], never negative
    probability: jax.Array  # [B, 256, 256], softmax of the logits
    score: None = None  # the network has none of the image


class Residual(nn.Module):
    """Add two 3×3 convolutions, each behind BatchNorm and ReLU: [B, h, w, C] → the same."""

    train: bool
    of_batch: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for end in ("", "_1"):
            y = nn.relu(_norm(self.train, self.of_batch, f"BatchNorm{end}")(y))
            y = Conv(x.shape[-1], 3, padding=1, names=SLIM, name=f"Conv{end}")(y)
        return x + y


def _norm(train: bool, of_batch: bool, name: str) -> BatchNorm:
    return BatchNorm(train, 1e-3, 0.999, scale=False, of_batch=of_batch, name=name)


class LSTMCell(nn.Module):
    """Take a step of TensorFlow's basic LSTM with forget bias 1: state (h, c) and input [B, ·] → the new state."""

    @nn.compact
    def __call__(self, state: tuple[jax.Array, jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h, c = state
        kernel = self.param("kernel", GLOROT, (x.shape[-1] + HIDDEN, 4 * HIDDEN)).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (4 * HIDDEN,)).astype(x.dtype)
        i, j, f, o = jnp.split(jnp.concatenate([x, h], -1) @ kernel + bias, 4, -1)
        c = c * nn.sigmoid(f + 1) + nn.sigmoid(i) * jnp.tanh(j)
        return jnp.tanh(c) * nn.sigmoid(o), c


class Cell(nn.Module):
    """Hold an LSTM cell under its name."""

    @nn.compact
    def __call__(self, state: tuple[jax.Array, jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return LSTMCell(name="basic_lstm_cell")(state, x)


class Cells(nn.Module):
    """Read features [B, 64, ·] along the Hilbert curve by two LSTM layers: [64, B, 64], row by row."""

    dropout_rate: float
    train: bool

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        cells = [Cell(name=f"cell_{i}") for i in (0, 1)]
        nothing = jnp.zeros((len(features), HIDDEN), features.dtype)
        states = [(nothing, nothing) for _ in cells]
        drop = nn.Dropout(self.dropout_rate, deterministic=not self.train)
        outputs = [nothing] * PATCHES
        for place in HILBERT:
            x = features[:, place]
            for i, cell in enumerate(cells):
                states[i] = cell(states[i], x)
                x = drop(states[i][0])
            outputs[place] = x
        return jnp.stack(outputs)


class Reader(nn.Module):
    """Hold the LSTM layers under their name."""

    dropout_rate: float
    train: bool

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        return Cells(self.dropout_rate, self.train, name="multi_rnn_cell")(features)


def bilinear(x: jax.Array, factor: int) -> jax.Array:
    """Enlarge [B, h, w, C] by a fixed transposed convolution: bilinear, with zeros beyond the border."""
    k = 1 - np.abs(np.arange(2 * factor) - (factor - 0.5)) / factor
    kernel = np.outer(k, k)[:, :, None, None] * np.eye(x.shape[-1])
    H, W = x.shape[1:3]
    return enlarge(x, jnp.asarray(kernel, x.dtype), factor, (factor * H, factor * W))


class HLSTM(nn.Module):
    """Localize manipulation at 256×256 pixels → `HLSTMOutput`. 2,207,652 parameters.

    Args of the call: images [B, 256, 256, 3], 8-bit values over 127 (the released weights want them saturated at 127);
    resampling [B, 64, 240], of `pimjax.models.resampling`.

    The released weights know no running averages: with `batch_statistics` BatchNorm takes those of the current batch in
    inference, too, so that an image's map depends on the images beside it.
    """

    batch_statistics: bool = True
    dropout_rate: float = 0.1  # of each LSTM cell's output
    embed_dim: int = 32  # channels of the first convolution; they double with each
    execution: Execution = Execution()

    @staticmethod
    def example_inputs(side: int) -> dict[str, jax.Array]:
        """Return black inputs, for tracing; there is one size alone."""
        return {"images": jnp.zeros((1, SIDE, SIDE, 3)), "resampling": jnp.zeros((1, PATCHES, 10 * BINS))}

    @nn.compact
    def __call__(self, images: jax.Array, resampling: jax.Array, train: bool = False) -> HLSTMOutput:
        if images.shape[1:3] != (SIDE, SIDE):
            raise ValueError(f"images of {images.shape[1]}×{images.shape[2]} pixels: h_lstm takes 256×256 alone")

        norm = functools.partial(_norm, train, self.batch_statistics)
        x = images
        for i in range(4):
            x = nn.relu(ConvNorm(self.embed_dim * 2**i, 3, norm, name=f"conv_{i}")(x))
            x = lower(x, self.execution)
            x = max_pool(nn.relu(Residual(train, self.batch_statistics, name=f"res_unit{i + 1}")(x)), 2, 2)
        record(self, "pool4", x)
        top = nn.relu(ConvNorm(self.embed_dim, 1, norm, name="conv_top")(x))
        record(self, "top", top)
        read = self._read(resampling.astype(images.dtype), train)
        read = bilinear(nn.relu(norm("BatchNorm")(read)), 2)
        record(self, "lstm_out", read)
        x = bilinear(jnp.concatenate([top, read.astype(top.dtype)], -1), 4)
        x = nn.relu(norm("BatchNorm_1")(ConvNorm(2, 1, norm, name="conv_4")(x)))
        record(self, "upsampled_layer4", x)
        logits = bilinear(exact(x), 4)
        return HLSTMOutput(logits, nn.softmax(logits)[..., 1])

    def _read(self, resampling: jax.Array, train: bool) -> jax.Array:
        """Read the patches' features along a Hilbert curve by two LSTM layers: maps [B, 8, 8, embed_dim]."""
        hidden = Reader(self.dropout_rate, train, name="rnn")(resampling)
        record(self, "lstm", hidden)
        weights = self.param("Variable", nn.initializers.normal(1.0), (PATCHES, HIDDEN, self.embed_dim))
        bias = self.param("Variable_1", nn.initializers.normal(1.0), (self.embed_dim,))
        y = jnp.einsum("pbh,phc->bpc", hidden, weights.astype(hidden.dtype)) + bias.astype(hidden.dtype)
        return y.reshape(-1, 8, 8, self.embed_dim)
