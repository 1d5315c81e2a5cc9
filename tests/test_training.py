"""The loss, the optimizer, and the mapped step."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pimjax import PIM
from pimjax.config import LossConfig, OptimizerConfig, tiny_model
from pimjax.metrics.conventions import score
from pimjax.models.layers import Execution
from pimjax.models.pim import Features, PIMOutput
from pimjax.training.losses import Targets, compactness, dice, pim_loss
from pimjax.training.optimizer import make_optimizer
from pimjax.training.sharding import Partition, check_batch_size
from pimjax.training.step import StepConfig, init_state, train_step
from pimjax.training.validation import make_predict, predict_all
from pimjax.training.zero import AXIS

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


def test_dice_of_hard_maps_is_one_less_their_f1_and_of_authentic_images_nothing():
    truth, marked = np.zeros((2, 3, 8, 8), bool)
    truth[0, :4], marked[0, 2:5], marked[1, :, :3], truth[2, 0, 0] = True, True, True, True
    logits = np.stack([~marked, marked], -1) * 50.0
    f1 = [2 * (t & m).sum() / (t.sum() + m.sum()) for t, m in zip(truth, marked, strict=True)]
    value, gradient = jax.value_and_grad(dice)(jnp.zeros((3, 8, 8, 2)), jnp.asarray(truth))
    assert 0 < value < 1 and jnp.isfinite(gradient).all() and not gradient[1].any()
    assert dice(jnp.asarray(logits), jnp.asarray(truth)) == pytest.approx((1 - f1[0] + 0 + 1 - f1[2]) / 3)


@pytest.mark.parametrize(
    ("out", "weights", "left"),
    [
        (output(boundary=False), LossConfig(), {"mask", "reconstruction"}),
        (output(image=False), LossConfig(), {"mask", "boundary", "compactness"}),
        (output(), LossConfig(boundary=0), {"mask", "compactness", "reconstruction"}),
        (output(), LossConfig(compactness=0), {"mask", "boundary", "reconstruction"}),
        (output(), LossConfig(reconstruction=0), {"mask", "boundary", "compactness"}),
        (output(), LossConfig(mask=0, dice=1), {"dice", "boundary", "compactness", "reconstruction"}),
    ],
)
def test_each_loss_can_be_switched_off(out, weights, left):
    assert pim_loss(out, TARGETS, weights).keys() == left | {"total"}


def batch(images=8):
    rng = np.random.default_rng(1)
    return {
        "image": rng.integers(0, 256, (images, 32, 32, 3), np.uint8),
        "mask": rng.integers(0, 2, (images, 8, 8), np.uint8),
        "boundary": rng.integers(0, 2, (images, 8, 8), np.uint8),
        "target": rng.standard_normal((images, 8, 8, 3), np.float32),
        "stop": np.zeros(images, bool),
    }


# BatchNorm, stochastic depth and dropout, as quick to compile as may be.
SMALL = tiny_model(
    depths=(2,), num_heads=(1,), pool_scales=(1, 2), global_stream=False, boundary_decoder=False,
    drop_path_rate=0.3, dropout_rate=0.3,
)  # fmt: skip
ADAM = OptimizerConfig(learning_rate=1e-3)


@functools.cache
def create_train_state():
    return jax.device_get(init_state(PIM(SMALL), make_optimizer(ADAM), jax.random.key(0), ema_params=True))


@functools.cache
def trained(mapping, count, synchronized=True, grad_accum_steps=1, shard=False, steps=5, images=8, **recipe):
    """Losses of the steps over `count` of the simulated devices, and the state after them as it would be stored."""
    partition = Partition(jax.devices()[:count], mapping, count if shard else 1)
    model, optimizer = PIM(SMALL, Execution(bn_axis=AXIS if synchronized else None)), make_optimizer(ADAM)
    step = functools.partial(
        train_step,
        StepConfig(model, optimizer, LossConfig(), grad_accum_steps, shards=partition.shards, ema_decay=0.9, **recipe),
    )
    first = create_train_state()
    state = jax.tree.map(lambda a, like: jax.device_put(a, like.sharding), first, partition.stored_shapes(first))
    state = partition.from_stored(state)
    inputs, values, compiled = partition.split_batch(batch(images)), [], None
    for _ in range(steps):
        compiled = compiled or partition.map_step(step, first).lower(state, inputs).compile()
        state, metrics = compiled(state, inputs)
        values.append(float(metrics["loss/total"]))
    assert int(state.step) == steps
    assert not bool(metrics["stop"])
    return values, jax.tree.map(np.asarray, partition.to_stored(state, first))


# One device with 8 images, 8 with one each, 4 that share out the optimizer's state; two processes of two devices are in
# test_processes.py.
@pytest.mark.parametrize("way", [("pmap", 8), ("shard_map", 8), ("shard_map", 4, True, 1, True)], ids=str)
def test_however_it_is_spread_a_run_is_the_same(way):
    """Losses, parameters, statistics, Adam's moments and the average; dropout is drawn by image."""
    expected, state = trained("shard_map", 1)
    losses, other = trained(*way)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for name in ("params", "batch_stats", "opt_state", "ema_params"):
        # Adam's first steps have the sign of gradients of which some are rounding: hence absolute, in learning rates.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
            getattr(other, name),
            getattr(state, name),
        )


def test_parts_of_synchronized_statistics_are_computed_at_once():
    np.testing.assert_allclose(trained("shard_map", 1, grad_accum_steps=4)[0], trained("shard_map", 1)[0], rtol=1e-5)


def test_scores_do_not_depend_on_devices_or_batches():
    """Seven images, which neither eight devices nor a batch of two or three can share evenly."""
    images, truth = batch(7)["image"], batch(7)["mask"]
    variables = {"params": create_train_state().params, "batch_stats": create_train_state().batch_stats}
    scores = []
    for count, size in ((1, 2), (1, 3), (8, 8)):
        partition = Partition(jax.devices()[:count])
        predict = make_predict(PIM(SMALL), partition)
        predictions = predict_all(functools.partial(predict, variables), images, size)
        assert predictions.mask.shape == truth.shape
        scores.append(score(predictions.mask, truth, threshold=float(np.median(predictions.mask[0]))))
    assert scores[0] == scores[1] == scores[2]
    assert 0.1 < scores[0]["f1"] < 0.9


def test_unsynchronized_batch_norm_is_another_computation():
    assert abs(trained("pmap", 4, synchronized=False)[0][0] - trained("pmap", 4)[0][0]) > 1e-4


@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_parts_in_turn_equal_parts_on_devices(mapping):
    """Where every part has its own statistics, four devices with two images do what two with two parts each do."""
    losses, state = trained(mapping, 2, synchronized=False, grad_accum_steps=2)
    expected, other = trained("pmap", 4, synchronized=False)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), state.batch_stats, other.batch_stats
    )


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="batch_size is 6, which 4 devices × 1 parts"):
        check_batch_size(6, 4)
    with pytest.raises(ValueError, match="use a multiple of 4"):
        check_batch_size(6, 2, grad_accum_steps=2)
