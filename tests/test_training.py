"""The loss, the optimiser, and the mapped step."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pimjax import PIM
from pimjax.config import LossConfig, OptimizerConfig, tiny_model
from pimjax.models.layers import Execution
from pimjax.models.pim import Features, PIMOutput
from pimjax.training import devices
from pimjax.training.losses import Targets, compactness, pim_loss
from pimjax.training.optimizer import make_optimizer
from pimjax.training.step import AXIS, init_state, train_step

RNG = np.random.default_rng(0)


def output(boundary=True, image=True):
    logits = lambda *shape: jnp.asarray(RNG.standard_normal(shape), jnp.float32)  # noqa: E731
    return PIMOutput(
        logits(2, 4, 4, 2),
        logits(2, 4, 4, 2) if boundary else None,
        logits(2, 4, 4, 3) if image else None,
        Features((), (), (), ()),
    )


TARGETS = Targets(RNG.integers(0, 2, (2, 4, 4)), RNG.integers(0, 2, (2, 4, 4)), RNG.standard_normal((2, 4, 4, 3)))


def test_loss_is_the_published_sum():
    out = output()

    def entropy(logits, labels):
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        return -np.log(np.take_along_axis(p, labels[..., None], -1)).mean()

    area = jax.nn.softmax(out.mask_logits)[..., 1].sum((1, 2))
    perimeter = jax.nn.softmax(out.boundary_logits)[..., 1].sum((1, 2))
    expected = {
        "mask": entropy(np.asarray(out.mask_logits), TARGETS.mask),
        "boundary": entropy(np.asarray(out.boundary_logits), TARGETS.boundary),
        "compactness": 0.001 * np.mean(perimeter**2 / (4 * math.pi * area)),
        "reconstruction": 0.1 * np.abs(out.reconstruction - TARGETS.image).mean(),
    }
    terms = pim_loss(out, TARGETS, LossConfig())
    assert terms.keys() == expected.keys() | {"total"}
    for name, value in expected.items():
        assert terms[name] == pytest.approx(float(value), rel=1e-5), name
    assert terms["total"] == pytest.approx(float(sum(expected.values())), rel=1e-5)


def test_a_disc_is_the_most_compact_shape():
    y, x = np.mgrid[:64, :64] - 31.5
    disc, bar = np.hypot(y, x) < 20, (np.abs(y) < 5) & (np.abs(x) < 31)

    def value(mask):
        edge = mask & ~(np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1))
        mask, edge = (np.stack([~m, m], -1)[None] * 50.0 for m in (mask, edge))
        return float(compactness(jnp.asarray(mask), jnp.asarray(edge)))

    assert value(disc) < value(bar)
    assert 0.7 < value(disc) < 1.1


@pytest.mark.parametrize(
    ("out", "weights", "left"),
    [
        (output(boundary=False), LossConfig(), {"mask", "reconstruction"}),
        (output(image=False), LossConfig(), {"mask", "boundary", "compactness"}),
        (output(), LossConfig(boundary=0), {"mask", "compactness", "reconstruction"}),
        (output(), LossConfig(compactness=0), {"mask", "boundary", "reconstruction"}),
        (output(), LossConfig(reconstruction=0), {"mask", "boundary", "compactness"}),
    ],
)
def test_each_loss_can_be_switched_off(out, weights, left):
    assert pim_loss(out, TARGETS, weights).keys() == left | {"total"}


def test_weight_decay_is_coupled():
    """With a zero gradient, coupled L2 passes through Adam's normalisation: a first step of the full learning rate.
    AdamW would take one of learning rate · decay · parameter.
    """
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-3, weight_decay=1e-5))
    params = {"a": jnp.array([2.0, -3.0])}
    updates, _ = optimizer.update({"a": jnp.zeros(2)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["a"], [-1e-3, 1e-3], rtol=2e-3)


def batch(images=4):
    rng = np.random.default_rng(1)
    return {
        "image": rng.integers(0, 256, (images, 32, 32, 3), np.uint8),
        "mask": rng.integers(0, 2, (images, 8, 8), np.uint8),
        "boundary": rng.integers(0, 2, (images, 8, 8), np.uint8),
        "target": rng.standard_normal((images, 8, 8, 3), np.float32),
    }


@functools.cache
def losses(mapping, count, synchronised=True, accumulate=1):
    """Losses of three steps over `count` of the simulated devices, each taking its images in `accumulate` parts."""
    used = jax.devices()[:count]
    config = tiny_model(depths=(1, 1), num_heads=(1, 2), drop_path=0.0, decoder_dropout=0.0, global_stream=False)
    model = PIM(config, Execution(bn_axis=AXIS if synchronised else None))
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-3))
    state = devices.replicate(init_state(model, optimizer, jax.random.key(0)), used)
    one_step = functools.partial(train_step, model, optimizer, LossConfig(), accumulate=accumulate)
    step = devices.map_step(one_step, mapping, used)
    values, key = [], devices.replicate(jax.random.key(1), used)
    for _ in range(3):
        state, metrics = step(state, devices.split_batch(batch(), mapping, used), key)
        values.append(float(metrics["loss/total"]))
    assert int(state.step) == 3
    return values


def test_four_devices_equal_one_under_both_mappings():
    one = losses("shard_map", 1)
    assert one[2] < one[0]
    np.testing.assert_allclose(losses("pmap", 4), one, rtol=1e-5)
    np.testing.assert_allclose(losses("shard_map", 4), one, rtol=1e-5)


def test_unsynchronised_batch_norm_is_another_computation():
    assert abs(losses("pmap", 4, synchronised=False)[0] - losses("pmap", 4)[0]) > 1e-4


@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_parts_in_turn_equal_parts_on_devices(mapping):
    """Where every part has its own statistics, four devices with an image each do what two with two parts each do."""
    parts = losses(mapping, 2, synchronised=False, accumulate=2)
    np.testing.assert_allclose(parts, losses("pmap", 4, synchronised=False), rtol=1e-5)


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="batch_size is 6, which 4 devices × 1 parts"):
        devices.check_batch_size(6, 4)
    with pytest.raises(ValueError, match="use a multiple of 4"):
        devices.check_batch_size(6, 2, accumulate=2)
