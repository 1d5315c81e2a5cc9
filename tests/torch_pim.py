"""PIM composed from PyTorch's own functions after the same description, as a witness for training.

It shares pimjax's tables of indices (window positions, roll regions, ring taps), and no computation.

Works on a mapping of the released names to tensors, in whatever precision they have; images and maps are
[B, C, H, W], dropout and stochastic depth are off, BatchNorm is in training mode.
"""

import numpy as np
import torch
from torch.nn import functional as F

from pimjax.models.local_stream import INNER, OUTER
from pimjax.models.windows import relative_position_index, roll_mask, roll_regions

DEPTHS, HEADS, WINDOW = (2, 2, 6, 2), (3, 6, 12, 24), 7


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def layer_norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])


def batch_norm(p, name, x):
    return F.batch_norm(x, None, None, p[f"{name}.weight"], p[f"{name}.bias"], training=True)


def attention(p, name, x, heads, mask, masked):
    BW, N, C = x.shape
    q, k, v = linear(p, f"{name}.qkv", x).view(BW, N, 3, heads, C // heads).permute(2, 0, 3, 1, 4)
    logits = q * (C // heads) ** -0.5 @ k.mT
    index = torch.tensor(relative_position_index(WINDOW))
    logits = logits + p[f"{name}.relative_position_bias_table"][index].permute(2, 0, 1)
    if mask is not None:
        logits = (logits.view(-1, len(mask), heads, N, N) + mask[:, None]).view(BW, heads, N, N)
    if masked:
        logits = logits.masked_fill(torch.ones(N, N, dtype=torch.bool).triu(), -1e4)
    weights = logits.softmax(-1)
    if masked:
        weights = torch.cat([weights[:, :, :1] * 0, weights[:, :, 1:]], 2)
    return linear(p, f"{name}.proj", (weights @ v).transpose(1, 2).reshape(BW, N, C))


def block(p, name, x, heads, shift, masked):
    B, H, W, C = x.shape
    y = F.pad(layer_norm(p, f"{name}.norm1", x), (0, 0, 0, -W % WINDOW, 0, -H % WINDOW))
    _, h, w, _ = y.shape
    y = y.roll((-shift, -shift), (1, 2))
    y = y.view(B, h // WINDOW, WINDOW, w // WINDOW, WINDOW, C).transpose(2, 3).reshape(-1, WINDOW**2, C)
    mask = torch.tensor(np.array(roll_mask(roll_regions(h, w, WINDOW, shift)))).to(x) if shift else None
    y = attention(p, f"{name}.attn", y, heads, mask, masked)
    y = y.view(B, h // WINDOW, w // WINDOW, WINDOW, WINDOW, C).transpose(2, 3).reshape(B, h, w, C)
    x = x + y.roll((shift, shift), (1, 2))[:, :H, :W]
    y = F.gelu(linear(p, f"{name}.mlp.fc1", layer_norm(p, f"{name}.norm2", x)))
    return x + linear(p, f"{name}.mlp.fc2", y)


def encoder(p, name, images, masked):
    x = F.conv2d(images, p[f"{name}.patch_embed.proj.weight"], p[f"{name}.patch_embed.proj.bias"], stride=4)
    x = layer_norm(p, f"{name}.patch_embed.norm", x.permute(0, 2, 3, 1))
    maps = []
    for i, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        if i:
            merge = f"{name}.layers.{i - 1}.downsample"
            x = torch.cat([x[:, r::2, c::2] for c in (0, 1) for r in (0, 1)], -1)
            x = linear(p, f"{merge}.reduction", layer_norm(p, f"{merge}.norm", x))
        for j in range(depth):
            x = block(p, f"{name}.layers.{i}.blocks.{j}", x, heads, j % 2 * (WINDOW // 2), masked)
        maps.append(layer_norm(p, f"{name}.norm{i}", x).permute(0, 3, 1, 2))
    return maps


def weigh(p, name, i, a, b, residual):
    pooled = torch.cat([a, b], 1).mean((2, 3))
    gate = linear(p, f"{name}.weight_learn{i}.fc", pooled).relu().sigmoid()[..., None, None]
    x = batch_norm(p, f"{name}.norm{i}", torch.cat([a * gate[:, :1], b * gate[:, 1:]], 1))
    x = F.conv2d(x, p[f"{name}.conv_sep_all{i}.conv1.weight"], padding=1, groups=x.shape[1])
    x = F.conv2d(x, p[f"{name}.conv_sep_all{i}.pointwise.weight"])
    return residual + batch_norm(p, f"{name}.norm_all{i}", x)


def local(p, i, x):
    """The differences as their definition has them: of convolutions, and of shifted images."""
    central, radial = p[f"local_conv_enhancement.weights_cd{i}"], p[f"local_conv_enhancement.weights_rd{i}"]
    B, C, H, W = x.shape
    cd = F.conv2d(x, central, padding=1) - F.conv2d(x, central.sum((2, 3), keepdim=True))
    around = F.pad(x, (2, 2, 2, 2))
    rd = 0
    for tap, ((r, c), (s, t)) in enumerate(zip(OUTER, INNER, strict=True), start=1):
        difference = around[:, :, r : r + H, c : c + W] - around[:, :, s : s + H, t : t + W]
        rd = rd + F.conv2d(difference, radial[:, :, tap // 3, tap % 3, None, None])
    return weigh(p, "local_conv_enhancement", i, cd, rd, x)


def conv_unit(p, name, x):
    weight = p[f"{name}.conv.weight"]
    return batch_norm(p, f"{name}.bn", F.conv2d(x, weight, padding=weight.shape[-1] // 2)).relu()


def resize(x, like):
    return F.interpolate(x, like.shape[2:], mode="bilinear")


def decoder(p, name, maps):
    top = maps[3]
    pooled = [
        resize(conv_unit(p, f"{name}.psp_modules.{i}.1", F.adaptive_avg_pool2d(top, bins)), top)
        for i, bins in enumerate((1, 2, 3, 6))
    ]
    levels = [conv_unit(p, f"{name}.lateral_convs.{i}", maps[i]) for i in range(3)]
    levels.append(conv_unit(p, f"{name}.bottleneck", torch.cat([top, *pooled], 1)))
    for i in (2, 1, 0):
        levels[i] = levels[i] + resize(levels[i + 1], levels[i])
    levels[:3] = [conv_unit(p, f"{name}.fpn_convs.{i}", levels[i]) for i in range(3)]
    x = conv_unit(p, f"{name}.fpn_bottleneck", torch.cat([resize(x, levels[0]) for x in levels], 1))
    return F.conv2d(x, p[f"{name}.conv_seg.weight"], p[f"{name}.conv_seg.bias"])


def losses(p, images, targets):
    """(total, mask, boundary, compactness, reconstruction), weighted, of `pimjax.training.losses.Targets` as tensors.

    `images` and `targets.image` are [B, H, W, 3], as in pimjax.
    """
    images = images.permute(0, 3, 1, 2)
    swin, masked = (encoder(p, f"backbone_{name}", images, name == "recon") for name in ("swin", "recon"))
    maps = [local(p, i, x) for i, x in enumerate(swin)]
    fused = [weigh(p, "feature_fusion", i, a, b, a) for i, (a, b) in enumerate(zip(maps, masked, strict=True))]
    mask, boundary = decoder(p, "decode_head", fused), decoder(p, "boundary_head", fused)
    area, perimeter = (logits.softmax(1)[:, 1].sum((1, 2)) for logits in (mask, boundary))
    terms = [
        F.cross_entropy(mask, targets.mask.long()),
        F.cross_entropy(boundary, targets.boundary.long()),
        0.001 * (perimeter**2 / (4 * torch.pi * area)).mean(),
        0.1 * (decoder(p, "recon_head", masked).permute(0, 2, 3, 1) - targets.image).abs().mean(),
    ]
    return torch.stack([sum(terms), *terms])
