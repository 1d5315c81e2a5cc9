"""PSCC-Net, progressive spatio-channel correlation (Liu, Liu, Chen and Liu, IEEE TCSVT 2022, arXiv 2103.10596)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.hrnet import MOMENTUM, ConvNorm, HRModule, Maps, new_branch
from pimjax.models.layers import Execution
from pimjax.models.resnet50 import Bottleneck
from pimjax.models.torch_layers import BatchNorm2d, Conv2d, Linear, exact, lower, record, remat, resize, softmax

FOLDS = (4, 2, 2, 1)  # how much each scale's map is folded before positions attend to each other


class PSCCNetOutput(NamedTuple):
    """Hold what the network says of B images; masks are probabilities of manipulation, or logits if gates are."""

    mask1: jax.Array  # [B, crop height, crop width, 1]
    mask2: jax.Array  # half of it, and so on
    mask3: jax.Array
    mask4: jax.Array
    mask: jax.Array  # [B, H, W, 1], the finest one at the images' size
    logits: jax.Array  # [B, 2], of authentic and manipulated
    probability: jax.Array  # [B, H, W]
    score: jax.Array  # [B], probability that the image is manipulated


class Backbone(nn.Module):
    """Encode images [B, H, W, 3] by HRNet-W18-small-v2 without its strides: four maps, of full size to an eighth."""

    embed_dim: int = 18  # channels of the finest branch; they double with each
    stem_dim: int = 64
    train: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array) -> Maps:
        train, widths = self.train, tuple(self.embed_dim * 2**i for i in range(4))
        for number in (1, 2):
            x = Conv2d(self.stem_dim, 3, padding=1, use_bias=False, name=f"conv{number}")(x)
            x = lower(x, self.execution)
            x = nn.relu(BatchNorm2d(train, momentum=MOMENTUM, name=f"bn{number}")(x))
        for i in range(2):
            x = remat(Bottleneck, self.execution)(self.stem_dim, train=train, momentum=MOMENTUM, name=f"layer1.{i}")(x)
        record(self, "layer1", x)
        maps = [ConvNorm(widths[0], train=train, name="transition1.0")(x)]
        maps = [*maps, ConvNorm(widths[1], 3, 2, train, name="transition1.1.0")(x)]
        for stage in (2, 3, 4):
            maps = remat(HRModule, self.execution)(widths[:stage], 2, True, train, name=f"stage{stage}.0")(maps)
            for i, map_ in enumerate(maps):
                record(self, f"stage{stage}_{i}", map_)
            if stage < 4:
                maps = new_branch(maps, widths[stage], f"transition{stage}.{stage}", train)
        return maps


class Correlation(nn.Module):
    """Let positions and channels of a map attend to each other, and read a mask off it: [B, h, w, C] → [B, h, w, 1].

    The channel branch's result is read back with positions and channels interchanged, as the released weights want;
    `transposed` is the ordinary attention that the paper draws.
    """

    fold: int
    gate: str = "sigmoid"
    transposed: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, h, w, C = x.shape
        r, N = self.fold, h * w // self.fold**2
        D = C * r * r
        # Channel first, then read as more channels of fewer positions: nothing moves in memory.
        folded = jnp.moveaxis(x, 3, 1).reshape(B, D, N)
        g, theta, phi = (
            jnp.moveaxis(Conv2d(D, name=name)(jnp.moveaxis(folded, 1, 2)[:, None])[:, 0], 2, 1)
            for name in ("g", "theta", "phi")
        )  # each [B, D, N]
        positions = softmax(jnp.einsum("bdn,bdm->bnm", theta, phi))
        spatial = jnp.einsum("bnm,bdm->bdn", positions, g).reshape(B, C, h, w)
        channels = softmax(jnp.einsum("bin,bjn->bij", theta, phi))
        channel = jnp.einsum("bin,bij->bnj", g, channels)
        if self.transposed:
            channel = jnp.moveaxis(channel, 2, 1)
        channel = channel.reshape(B, C, h, w)
        for name, change in (("s", spatial), ("c", channel)):
            weight = self.param(f"gamma_{name}", nn.initializers.ones, (1,)).astype(x.dtype)
            x = x + weight * Conv2d(C, name=f"W_{name}")(jnp.moveaxis(change, 1, 3))
        record(self, "z", x)
        mask = nn.relu(Conv2d(16, 3, padding=1, name="getmask.0")(x))
        mask = exact(Conv2d(1, 3, padding=1, name="getmask.2")(mask))
        return nn.sigmoid(mask) if self.gate == "sigmoid" else mask


class MaskHeads(nn.Module):
    """Predict four masks, coarse to fine, each gating the features of the next: finest first."""

    gate: str = "sigmoid"
    transposed: bool = False

    @nn.compact
    def __call__(self, maps: Maps) -> Maps:
        masks: Maps = []
        for scale in (4, 3, 2, 1):
            x = maps[scale - 1]
            if masks:
                x = x * resize(masks[0], x.shape[1:3], True).astype(x.dtype)
            name = f"getmask{scale}"
            masks = [Correlation(FOLDS[scale - 1], self.gate, self.transposed, name=name)(x), *masks]
        return masks


class ImageHead(nn.Module):
    """Classify an image from four maps: logits [B, 2]."""

    train: bool = False

    @nn.compact
    def __call__(self, maps: Maps) -> jax.Array:
        y = jnp.zeros(())
        for i, x in enumerate(maps):
            width = x.shape[-1]
            block = Bottleneck(width, train=self.train, expansion=2, momentum=MOMENTUM, name=f"incre_modules.{i}.0")
            x = block(x)
            if i:
                y = Conv2d(2 * width, 3, 2, 1, name=f"downsamp_modules.{i - 1}.0")(y)
                x += nn.relu(BatchNorm2d(self.train, momentum=MOMENTUM, name=f"downsamp_modules.{i - 1}.1")(y))
            y = x
        y = Conv2d(128, name="final_layer.0")(y)
        y = nn.relu(BatchNorm2d(self.train, momentum=MOMENTUM, name="final_layer.1")(y)).mean((1, 2))
        return exact(Linear(2, name="classifier.2")(nn.relu(Linear(16, name="classifier.0")(y))))


class PSCCNet(nn.Module):
    """Localize manipulation: images [B, H, W, 3] in 0..1, any H and W → `PSCCNetOutput`. 3,667,942 parameters.

    Both heads work on maps resized to a fixed grid `crop`, (height, width) or one side, a multiple of 8; the backbone
    sees the image as it is.
    """

    crop: int | tuple[int, int] = 256
    gate: str = "sigmoid"  # or "logit": the port in IMDL-BenCo gates by logits
    channel_unfold: str = "released"  # or "transposed"
    embed_dim: int = 18  # channels of the backbone's finest branch
    stem_dim: int = 64  # channels before its branches
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> PSCCNetOutput:
        height, width = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
        maps = Backbone(self.embed_dim, self.stem_dim, train, self.execution, name="FENet")(images)
        for i, map_ in enumerate(maps, 1):
            record(self, f"s{i}", map_)
        maps = [resize(x, (height >> k, width >> k), True) for k, x in enumerate(maps)]
        masks = MaskHeads(self.gate, self.channel_unfold == "transposed", name="SegNet")(maps)
        logits = ImageHead(train, name="ClsNet")(maps)
        mask = resize(masks[0], images.shape[1:3], True)
        probability = mask if self.gate == "sigmoid" else nn.sigmoid(mask)
        mask1, mask2, mask3, mask4 = masks
        score = nn.softmax(logits)[:, 1]
        return PSCCNetOutput(mask1, mask2, mask3, mask4, mask, logits, probability[..., 0], score)
