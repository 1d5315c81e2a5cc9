"""SPAN, the spatial pyramid attention network (Hu et al., ECCV 2020, arXiv 2009.00726)."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import Execution
from pimjax.models.mantra_net import Featex
from pimjax.models.tf_layers import GLOROT, Conv, unit_columns
from pimjax.models.torch_layers import convolve, exact, record, remat

SPACINGS = (1, 3, 9, 27, 81)
PLACES = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
WIDTH = 32
SIDE = 224  # of the map that the release's evaluator and trainer make
REACH = sum(SPACINGS) + 3 * len(SPACINGS) + 5 * 2  # pixels that `localize` sees around one


class SPANOutput(NamedTuple):
    """Hold what the network says of B images; h and w are the images' H and W, or 224 with `resize224`."""

    logits: jax.Array  # [B, h, w, 1]
    pred: jax.Array  # [B, h, w, 1], probability of manipulation
    probability: jax.Array  # [B, h, w], the same
    score: None = None  # the network has none of the image


def shifted(x: jax.Array, dy: int, dx: int) -> jax.Array:
    """Return what [B, H, W, C] holds at p + (dy, dx), for every pixel p; 0 outside."""
    H, W = x.shape[1:3]
    if abs(dy) >= H or abs(dx) >= W:
        return jnp.zeros_like(x)
    around = [(max(-d, 0), max(d, 0)) for d in (dy, dx)]
    padded = jnp.pad(x, ((0, 0), *around, (0, 0)))
    top, left = max(dy, 0), max(dx, 0)
    return padded[:, top : top + H, left : left + W]


class PixelAttention(nn.Module):
    """Attend to the nine pixels `spacing` apart, each place with keys and values of its own; then three convolutions.

    [B, H, W, 32] → the same. A neighbor outside the image is not left out: its logit and its value are 0. Places are
    taken one by one, so that memory stays that of a few maps.
    """

    spacing: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        C, n, s = x.shape[-1], len(PLACES), self.spacing
        keys, values = (
            self.param(name, _glorot, (1, 1, C, n * C)).astype(x.dtype)[0, 0].reshape(C, n, C)
            for name in ("K_P", "V_P")
        )
        q = x @ self.param("Q_P", _glorot, (1, 1, C, C)).astype(x.dtype)[0, 0]
        logits = jnp.stack(
            [
                (shifted(x @ keys[:, m], s * dy, s * dx) * q).sum(-1) / 8  # not √32
                for m, (dy, dx) in enumerate(PLACES)
            ],
            -1,
        )
        weights = nn.softmax(exact(logits)).astype(x.dtype)
        total = x
        for m, (dy, dx) in enumerate(PLACES):
            total = total + weights[..., m : m + 1] * shifted(x @ values[:, m], s * dy, s * dx)
        u = total
        for i, width in enumerate((C, 2 * C, C), 1):
            kernel = self.param(f"ff{i}_kernel", _glorot, (3, 3, u.shape[-1], width)).astype(x.dtype)
            bias = self.param(f"ff{i}_bias", _glorot, (width,)).astype(x.dtype)
            u = nn.relu(convolve(u, kernel, padding=1) + bias)
        return total + u


def _glorot(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw Glorot's uniform numbers, of a vector with its length for both fans."""
    if len(shape) > 1:
        return GLOROT(key, shape)
    limit = np.sqrt(3 / math.prod(shape))
    return jax.random.uniform(key, shape, jnp.float32, -limit, limit)


def resize_corner(x: jax.Array, size: int) -> jax.Array:
    """Resize [B, H, W, C] bilinearly as TensorFlow 1: output i reads i·n/size, without half-pixel centers."""
    matrices = []
    for n in x.shape[1:3]:
        places = np.arange(size) * (n / size)
        low = np.minimum(np.floor(places).astype(int), n - 1)
        matrix = np.zeros((size, n))
        np.add.at(matrix, (np.arange(size), low), 1 - (places - low))
        np.add.at(matrix, (np.arange(size), np.minimum(low + 1, n - 1)), places - low)
        matrices.append(jnp.asarray(matrix, x.dtype))
    return jnp.einsum("ih,bhwc,jw->bijc", matrices[0], x, matrices[1], precision="highest")


class SPAN(nn.Module):
    """Localize manipulation: images [B, H, W, 3] in −1..1, any H and W → `SPANOutput`. 4,054,254 parameters.

    With `resize224` the traces are resized to 224×224, as the release scores and trains: the map has that size.
    """

    resize224: bool = False
    embed_dim: int = 32  # channels of the extractor's second layer, of which its others are multiples
    execution: Execution = Execution()

    def setup(self) -> None:
        self.featex = Featex(embed_dim=self.embed_dim, execution=self.execution, name="Featex")
        self.adapt = Conv(WIDTH, use_bias=False, name="outlierTrans_new")
        block = remat(PixelAttention, self.execution)
        self.blocks = [block(s, name=f"pixel_attention_{i}") for i, s in enumerate(SPACINGS, 1)]
        self.decision = [Conv(w, 5, padding=2, name=f"final_{i}") for i, w in enumerate((32, 16, 8, 4, 1), 1)]

    def __call__(self, images: jax.Array, train: bool = False) -> SPANOutput:
        x = self.adapted(images)
        return self.localize(resize_corner(x, SIDE) if self.resize224 else x)

    def adapted(self, images: jax.Array) -> jax.Array:
        """Return the traces' 32 combinations [B, H, W, 32]; each pixel's depends on those 14 around it.

        Resized afterward, which is the same: combining and resizing are both linear.
        """
        return self.adapt(self.featex(images))

    def localize(self, x: jax.Array) -> SPANOutput:
        """Read manipulation off combinations [B, H, W, 32]; each pixel's depends on those `REACH` around it."""
        record(self, "adapted", x)
        for i, block in enumerate(self.blocks, 1):
            x = block(x)
            record(self, f"attention{i}", x)
        for i, conv in enumerate(self.decision, 1):
            x = conv(x)
            if i < len(self.decision):
                x = nn.relu(x)
            if i == 4:
                record(self, "decision4", x)
        logits = exact(x)
        pred = nn.sigmoid(logits)
        return SPANOutput(logits, pred, pred[..., 0])


def constrain(params: Any) -> Any:
    """Return parameters as they are after an update: unit weights of the first layer behind the traces."""
    return {**params, "outlierTrans_new": {"kernel": unit_columns(params["outlierTrans_new"]["kernel"])}}
