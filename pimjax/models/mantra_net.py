"""ManTra-Net (Wu, AbdAlmageed and Natarajan, CVPR 2019, doi 10.1109/CVPR.2019.00977)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import Execution
from pimjax.models.tf_layers import GLOROT, BatchNorm, Conv, mirrored, unit_columns
from pimjax.models.torch_layers import convolve, exact, lower, record

SRM = (
    ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0)),
    ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1)),
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
)
DIVISORS = (4, 12, 2)
WIDTHS = {  # in multiples of `embed_dim`
    "b1c2": 1,
    **dict.fromkeys(("b2c1", "b2c2"), 2),
    **dict.fromkeys(("b3c1", "b3c2", "b3c3"), 4),
    **dict.fromkeys(("b4c1", "b4c2", "b4c3", "b5c1", "b5c2"), 8),
}
REACH = 14  # pixels that the extractor sees around one
UNITS = 8  # of the ConvLSTM


class ManTraNetOutput(NamedTuple):
    """Hold what the network says of B images."""

    logits: jax.Array  # [B, H, W, 1]
    pred: jax.Array  # [B, H, W, 1], probability of manipulation
    probability: jax.Array  # [B, H, W], the same
    score: None = None  # the network has none of the image


def srm_filters() -> np.ndarray:
    """Return the fixed filters as a kernel [5, 5, 3, 9]: output 3·i + c applies filter i to color c."""
    kernel = np.zeros((5, 5, 3, 9), np.float32)
    for i, (rows, divisor) in enumerate(zip(SRM, DIVISORS, strict=True)):
        for c in range(3):
            kernel[:, :, c, 3 * i + c] = np.array(rows, np.float32) / divisor
    return kernel


def bayar_taps(kernel: jax.Array, eps: float = 1e-7) -> jax.Array:
    """Return Bayar's filters [5, 5, in, out] with taps that sum to 1 around −1."""
    center = np.zeros((5, 5, 1, 1), bool)
    center[2, 2] = True
    taps = jnp.where(center, 0, kernel)
    return jnp.where(center, -1, taps / (taps.sum((0, 1), keepdims=True) + eps))


class FirstConv(nn.Module):
    """Convolve [B, H, W, 3] 5×5 by ordinary, SRM and Bayar filters: [B, H, W, regular + 12]."""

    regular: int
    port: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        regular = self.param("regular_kernel", GLOROT, (5, 5, 3, self.regular))
        init = lambda key, shape: bayar_taps(jax.random.uniform(key, shape, minval=0.01))  # noqa: E731
        bayar = self.param("bayar_kernel", init, (5, 5, 3, 3))
        if self.port:
            bayar = bayar_taps(bayar, 0.0)
        kernel = jnp.concatenate([regular, jnp.asarray(srm_filters(), regular.dtype), bayar], -1)
        return convolve(mirrored(x, 2), kernel.astype(x.dtype))


class Featex(nn.Module):
    """Extract manipulation traces of images [B, H, W, 3] in −1..1: [B, H, W, 8·embed_dim], of unit length per pixel."""

    regular: int = 4
    squash: bool = False  # tanh behind the last convolution
    port: bool = False
    embed_dim: int = 32  # channels of the second layer
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.relu(FirstConv(self.regular, self.port, name="b1c1")(images))
        record(self, "first_block", x)
        x = lower(x, self.execution)
        for name, width in WIDTHS.items():
            x = nn.relu(Conv(width * self.embed_dim, 3, symmetric=True, name=name)(x))
            if name == "b2c2":
                record(self, "block2", x)
        x = exact(Conv(8 * self.embed_dim, 3, symmetric=True, name="transform")(x))
        x = jnp.tanh(x) if self.squash else x
        square = jnp.square(x).sum(-1, keepdims=True)
        # The port's floor is on the norm.
        x = x * jax.lax.rsqrt(jnp.maximum(square, 1e-24 if self.port else 1e-12))
        record(self, "features", x)
        return x


def window_mean(x: jax.Array, side: int) -> jax.Array:
    """Return the mean over side×side pixels around each of [B, H, W, C], of those inside the image.

    Sums are taken along rows, then columns, directly: an integral image in float32, as the original's, loses digits
    with the image's area.
    """
    h = side // 2

    total, counts = x, []
    for axis in (1, 2):
        window = tuple(side if i == axis else 1 for i in range(4))
        around = tuple((h, h) if i == axis else (0, 0) for i in range(4))
        total = jax.lax.reduce_window(total, np.zeros((), x.dtype), jax.lax.add, window, (1, 1, 1, 1), around)
        places, n = np.arange(x.shape[axis]), x.shape[axis]
        counts.append(np.minimum(places + h, n - 1) - np.maximum(places - h, 0) + 1)
    return total / jnp.asarray(np.outer(*counts)[None, :, :, None], x.dtype)


class Floor(nn.Module):
    """Return the per-image, per-channel deviation σ with its learned floor: [B, 1, 1, C]."""

    @nn.compact
    def __call__(self, deviation: jax.Array) -> jax.Array:
        shape = (1, 1, 1, deviation.shape[-1])
        return jnp.maximum(deviation, 1e-6 + self.param("min_std", nn.initializers.constant(1e-5), shape))


class ConvLSTM(nn.Module):
    """Take a step of an LSTM whose products are 7×7 convolutions: maps of state and input [B, H, W, ·]."""

    @nn.compact
    def __call__(self, state: tuple[jax.Array, jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h, c = state
        kernel = self.param("kernel", GLOROT, (7, 7, x.shape[-1], 4 * UNITS)).astype(x.dtype)
        recurrent = self.param("recurrent_kernel", nn.initializers.orthogonal(), (7, 7, UNITS, 4 * UNITS))
        bias = self.param("bias", _forget_bias, (4 * UNITS,)).astype(x.dtype)
        z = convolve(x, kernel, padding=3) + bias + convolve(h, recurrent.astype(x.dtype), padding=3)
        i, f, g, o = jnp.split(z, 4, -1)
        hard = lambda gate: jnp.clip(0.2 * gate + 0.5, 0, 1)  # noqa: E731  # Keras' of that time
        c = hard(f) * c + hard(i) * jnp.tanh(g)
        return hard(o) * jnp.tanh(c), c


def _forget_bias(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.zeros(shape).at[UNITS : 2 * UNITS].set(1.0)


class ManTraNet(nn.Module):
    """Localize manipulation: images [B, H, W, 3] in −1..1, any H and W → `ManTraNetOutput`. 3,804,950 parameters.

    `variant` is the number of the released file: 4 is what everybody uses; 0 and 1 have 20 ordinary filters, 0 a tanh
    behind the extractor, and all but 4 a fourth window. `port` computes as the PyTorch port does, whose BatchNorm
    always takes the current batch's statistics.
    """

    variant: int = 4
    port: bool = False
    embed_dim: int = 32  # channels of the extractor's second layer, of which all others are multiples
    execution: Execution = Execution()

    def setup(self) -> None:
        self.featex = Featex(
            20 if self.variant in (0, 1) else 4,
            self.variant == 0,
            self.port,
            self.embed_dim,
            self.execution,
            name="Featex",
        )
        self.adapt = Conv(2 * self.embed_dim, use_bias=False, name="outlierTrans")
        self.floor = Floor(name="glbStd")
        self.lstm = ConvLSTM(name="cLSTM")
        self.last = Conv(1, 7, padding=3, name="pred")

    @property
    def windows(self) -> Sequence[int]:
        """Return the sides of the windows, smallest first."""
        return (7, 15, 31) if self.variant == 4 else (7, 15, 31, 63)

    @property
    def reach(self) -> int:
        """Return how many pixels `localize` sees around one, beside the whole image's mean and deviation."""
        return self.windows[-1] // 2 + 3 * (len(self.windows) + 1) + 3

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> ManTraNetOutput:
        x = self.adapted(images)
        record(self, "adapted", x)
        x = BatchNorm(train, scale=False, center=False, of_batch=self.port, name="bnorm")(x)
        record(self, "normalised", x)
        mean = x.mean((1, 2), keepdims=True)
        deviation = jnp.sqrt(jnp.square(x - mean).mean((1, 2), keepdims=True))
        return self.localize(x, mean, deviation)

    def adapted(self, images: jax.Array) -> jax.Array:
        """Return the traces' combinations [B, H, W, 2·embed_dim]; each pixel's depends on those `REACH` around it."""
        return self.adapt(self.featex(images))

    def localize(self, x: jax.Array, mean: jax.Array, deviation: jax.Array) -> ManTraNetOutput:
        """Read manipulation off normalized combinations [B, H, W, 64] and their mean and deviation [B, 1, 1, 64]."""
        sigma = self.floor(deviation)
        record(self, "sigma", sigma[:, 0, 0])
        nothing = jnp.zeros((*x.shape[:3], UNITS), x.dtype)
        state = nothing, nothing
        scores = []
        for side in (*self.windows, 0):
            around = window_mean(x, side) if side else mean
            score = jnp.abs((around - x) / sigma)
            if self.is_mutable_collection("features"):
                scores.append(score)
            state = self.lstm(state, score)
        if scores:
            record(self, "zscores", jnp.stack(scores, 1))
        record(self, "lstm", state[0])
        logits = self.last(state[0])
        pred = nn.sigmoid(logits)
        return ManTraNetOutput(logits, pred, pred[..., 0])


def constrain(params: Any) -> Any:
    """Return parameters as they are after an update: Bayar's taps, unit weights, a floor that is not negative."""
    first = {**params["Featex"]["b1c1"], "bayar_kernel": bayar_taps(params["Featex"]["b1c1"]["bayar_kernel"])}
    return {
        **params,
        "Featex": {**params["Featex"], "b1c1": first},
        "outlierTrans": {"kernel": unit_columns(params["outlierTrans"]["kernel"])},
        "glbStd": {"min_std": jnp.maximum(params["glbStd"]["min_std"], 0)},
    }
