"""The compared networks' published training losses: named terms, weighed and summed.

Targets are a mask, int [B, H, W] of 0 and 1 (−1: ignored, where a network's recipe knows that), and what some networks
want besides. Sources: the papers and public recipes, named at each loss.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import ComparedLossConfig, NetworkConfig
from pimjax.config.networks import HPFCNConfig, TruForConfig
from pimjax.models.torch_layers import resize
from pimjax.training.losses import Targets

Terms = dict[str, jax.Array]


class MaskTargets(NamedTuple):
    """Hold what a batch should be found to be."""

    mask: jax.Array  # int [B, H, W], 1 = manipulated, −1 = ignored
    edge: jax.Array | None = None  # int [B, H, W] or [B, H/4, W/4], 1 = on the mask's edge
    labels: jax.Array | None = None  # int [B], 1 = manipulated; by default whether the mask marks anything
    pyramid: tuple[jax.Array, ...] = ()  # PSCC-Net: the mask at full size, 1/2, 1/4, 1/8

    def image_labels(self) -> jax.Array:
        """Return the images' labels, int [B]."""
        return (self.mask == 1).any((1, 2)).astype(jnp.int32) if self.labels is None else self.labels


def binary_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Return the cross-entropy of each sigmoid(logits) against 0 or 1, of the same shape."""
    return nn.softplus(logits) - logits * target


def two_class_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Return the cross-entropy [B, H, W] of softmax(logits) [B, H, W, 2] against 0 or 1."""
    return -jnp.take_along_axis(nn.log_softmax(logits), target[..., None], -1)[..., 0]


def weighted_cross_entropy(logits: jax.Array, mask: jax.Array, weights: tuple[float, float]) -> jax.Array:
    """Return the weighed mean over pixels that are not −1, divided by the sum of weights."""
    target = jnp.maximum(mask, 0)
    weight = jnp.where(target == 1, weights[1], weights[0]) * (mask >= 0)
    return (weight * two_class_cross_entropy(logits, target)).sum() / jnp.maximum(weight.sum(), 1e-12)


def balanced_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Return the mean with each class weighed by the other's frequency in the batch; plain if a class is missing."""
    n = target.size
    positive = target.sum()
    counts = jnp.stack([n - positive, positive]).astype(logits.dtype)
    weights = jnp.where((counts > 0).all(), n / 2 / jnp.maximum(counts, 1), 1.0)
    return (jnp.where(target == 1, weights[1], weights[0]) * two_class_cross_entropy(logits, target)).mean()


def smooth_dice(probability: jax.Array, target: jax.Array) -> jax.Array:
    """Return 1 − (2 Σ p·t + 1) / (Σ p² + Σ t² + 1) over the whole batch."""
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + 1) / ((probability**2).sum() + (target**2).sum() + 1)


def segmentation_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return FCN's, DeepLab's and U-Net's loss: cross-entropy at full size, the mean over pixels."""
    return {"mask": two_class_cross_entropy(output.logits, targets.mask).mean()}


def sigmoid_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return RRU-Net's and EVP's loss: binary cross-entropy at full size, the mean over pixels."""
    return {"mask": binary_cross_entropy(output.logits[..., 0], targets.mask).mean()}


def mfcn_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return MFCN's loss: the surface's and its edge's cross-entropy, classes balanced over the batch."""
    assert targets.edge is not None
    return {
        "mask": balanced_cross_entropy(output.surface_logits, targets.mask),
        "edge": balanced_cross_entropy(output.edge_logits, targets.edge),
    }


def mvss_net_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return MVSS-Net's loss: dice of mask and edges, and binary cross-entropy of the image's score."""
    score = jnp.clip(output.image_score, 1e-7, 1 - 1e-7)
    label = targets.image_labels()
    terms = {
        "mask": 0.16 * smooth_dice(nn.sigmoid(output.mask_logits[..., 0]), targets.mask),
        "image": 0.04 * -jnp.where(label == 1, jnp.log(score), jnp.log1p(-score)).mean(),
    }
    if output.edge is not None:
        assert targets.edge is not None
        terms["edge"] = 0.80 * smooth_dice(nn.sigmoid(output.edge[..., 0]), targets.edge)
    return terms


def pscc_net_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return PSCC-Net's loss: each mask's cross-entropy, positives as heavy as negatives in the batch, and the image's.

    Images' classes weigh 4 (authentic) to 4/3, as a quarter of its training images is authentic.
    """
    terms = {}
    for k, target in enumerate(targets.pyramid, 1):
        mask = jnp.clip(getattr(output, f"mask{k}")[..., 0], 1e-7, 1 - 1e-7)
        share = target.mean()
        weight = jnp.where(share > 0, jnp.where(target == 1, 0.5 / jnp.maximum(share, 1e-12), 0.5 / (1 - share)), 1.0)
        terms[f"mask{k}"] = (-jnp.where(target == 1, jnp.log(mask), jnp.log1p(-mask)) * weight).mean()
    label = targets.image_labels()
    weight = jnp.where(label == 1, 1 / 0.75, 1 / 0.25)
    entropy = -jnp.take_along_axis(nn.log_softmax(output.logits), label[:, None], -1)[:, 0]
    return terms | {"image": (weight * entropy).sum() / weight.sum()}


def cat_net_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return CAT-Net's loss: cross-entropy at full size, weights 0.5 and 2.5."""
    logits = resize(output.logits, targets.mask.shape[1:3])
    return {"mask": weighted_cross_entropy(logits, targets.mask, (0.5, 2.5))}


def trufor_localization_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return TruFor's loss of phase 2: 0.3 cross-entropy (weights 0.5, 2.5) and 0.7 dice of each image."""
    valid = targets.mask >= 0
    p, t = nn.softmax(output.anomaly_logits)[..., 1] * valid, (targets.mask == 1) * 1.0
    dice = 2 * (p * t).sum((1, 2)) / ((p**2).sum((1, 2)) + (t**2).sum((1, 2)) + 1e-5)
    return {
        "mask": 0.3 * weighted_cross_entropy(output.anomaly_logits, targets.mask, (0.5, 2.5)),
        "dice": 0.7 * (1 - dice.mean()),
    }


def trufor_confidence_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return TruFor's loss of phase 3: the confidence map's squared error, and half the image score's cross-entropy.

    The map is asked for the probability of the true class where that is certain: inside the mask by 7 pixels, outside
    by 5. An image is manipulated if more than 3 pixels are.
    """
    mask, p = targets.mask, nn.softmax(output.anomaly_logits)[..., 1]
    true_class = jnp.where(mask == 1, p, 1 - p)
    inside = _window(jnp.where(mask == 1, 1, 0), 15, jax.lax.min, 1)
    near = _window(jnp.where(mask == 1, 1, 0), 11, jax.lax.max, 0)
    certain = ((inside == 1) | (near == 0)) & (mask >= 0)
    error = (nn.sigmoid(output.confidence_logits[..., 0]) - jax.lax.stop_gradient(true_class)) ** 2
    label = ((mask == 1).sum((1, 2)) > 3) * 1.0
    weight = jnp.where(label == 1, 0.5 / 0.7, 0.5 / 0.3)
    return {
        "confidence": (error * certain).sum() / jnp.maximum(certain.sum(), 1),
        "image": 0.5 * (weight * binary_cross_entropy(output.score_logit, label)).mean(),
    }


def _window(x: jax.Array, side: int, reduce: Callable, outside: int) -> jax.Array:
    """Reduce every window of side×side pixels of [B, H, W]; beyond the border counts as `outside`."""
    h = side // 2
    return jax.lax.reduce_window(x, outside, reduce, (1, side, side), (1, 1, 1), ((0, 0), (h, h), (h, h)))


def trufor_loss(output: Any, targets: MaskTargets, frozen: Sequence[str]) -> Terms:
    """Return the losses of those parts of TruFor that learn: localization (phase 2), confidence and score (phase 3)."""
    terms: Terms = {} if "decode_head" in frozen else trufor_localization_loss(output, targets)
    later = trufor_confidence_loss(output, targets)
    for part, term in (("decode_head_conf", "confidence"), ("detection", "image")):
        if part not in frozen:
            terms[term] = later[term]
    return terms


def probability_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return ManTra-Net's and SPAN's loss: binary cross-entropy of the probability, kept 1e-7 off 0 and 1."""
    p = jnp.clip(output.pred[..., 0], 1e-7, 1 - 1e-7)
    return {"mask": -jnp.where(targets.mask == 1, jnp.log(p), jnp.log1p(-p)).mean()}


def hp_fcn_loss(output: Any, targets: MaskTargets, pixel: str = "focal") -> Terms:
    """Return HP-FCN's loss of each pixel's true class, the mean: "focal", (1 − p)² · −log p, or what it knows besides.

    "cross_entropy": −log p; "balanced": that, classes as heavy as each other in the batch.
    """
    if pixel == "balanced":
        return {"mask": balanced_cross_entropy(output.logits, targets.mask)}
    entropy = two_class_cross_entropy(output.logits, targets.mask)
    weight = (1 - jnp.exp(-entropy)) ** 2 if pixel == "focal" else 1.0
    return {"mask": (weight * entropy).mean()}


def h_lstm_loss(output: Any, targets: MaskTargets) -> Terms:
    """Return H-LSTM's loss: binary cross-entropy of both channels against the one-hot mask."""
    return {"mask": binary_cross_entropy(output.logits, jax.nn.one_hot(targets.mask, 2)).mean()}


def squared_norm(params: Any) -> jax.Array:
    """Return HP-FCN's penalty: 1e-5 times half the squared norm of its convolutions, not of its first and last ones."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    squares = (jnp.square(leaf).sum() for path, leaf in leaves if path[-1].key == "weights")
    return 5e-6 * functools.reduce(operator.add, squares)


def compared_loss(
    model: NetworkConfig, output: Any, targets: Targets, weights: ComparedLossConfig, params: Any
) -> Terms:
    """Return a compared network's terms, with their published weights times those given, and "total".

    Edges are the band of PIM's boundary targets; PSCC-Net's smaller masks are means over cells, above a half.
    """
    assert targets.full is not None
    mask = targets.full.astype(jnp.int32)
    edge = targets.boundary.astype(jnp.int32)
    if hasattr(output.network, "edge_logits"):  # at full size
        edge = jnp.repeat(jnp.repeat(edge, 4, 1), 4, 2)[:, : mask.shape[1], : mask.shape[2]]
    pyramid = ()
    if hasattr(output.network, "mask4"):
        sizes = (getattr(output.network, f"mask{k}").shape[1:3] for k in (1, 2, 3, 4))
        masks = (jax.image.resize(mask * 1.0, (len(mask), *size), "linear") for size in sizes)
        pyramid = tuple((part > 0.5).astype(jnp.int32) for part in masks)
    wanted = MaskTargets(mask, edge, None, pyramid)
    if isinstance(model, TruForConfig):
        terms = trufor_loss(output.network, wanted, model.frozen)
    elif isinstance(model, HPFCNConfig):
        terms = hp_fcn_loss(output.network, wanted, weights.pixel) | {"penalty": squared_norm(params)}
    else:
        terms = LOSSES[model.architecture](output.network, wanted)
    terms = {name: getattr(weights, name.rstrip("1234")) * term for name, term in terms.items()}
    return {"total": functools.reduce(operator.add, terms.values()), **terms}


LOSSES: Mapping[str, Callable[[Any, MaskTargets], Terms]] = {
    "fcn_resnet50": segmentation_loss,
    "deeplabv3_resnet50": segmentation_loss,
    "unet": segmentation_loss,
    "vit_b_16": segmentation_loss,
    "rru_net": sigmoid_loss,
    "evp": sigmoid_loss,
    "mfcn": mfcn_loss,
    "mvss_net": mvss_net_loss,
    "pscc_net": pscc_net_loss,
    "cat_net": cat_net_loss,
    "trufor": trufor_localization_loss,
    "trufor_confidence": trufor_confidence_loss,
    "mantra_net": probability_loss,
    "span": probability_loss,
    "hp_fcn": hp_fcn_loss,
    "h_lstm": h_lstm_loss,
}
