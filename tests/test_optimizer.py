"""Schedules, layer-wise rates, clipping, averaging, and steps that must not be taken."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pimjax import PIM
from pimjax.config import LossConfig, OptimizerConfig, tiny_model
from pimjax.models.layers import Execution
from pimjax.models.pim import Features, PIMOutput
from pimjax.training.optimizer import make_optimizer, make_schedule, rate_factors, require_trainable, without_frozen
from pimjax.training.sharding import Partition
from pimjax.training.step import StepConfig, init_state, train_step
from pimjax.training.zero import shard_axis


def test_weight_decay_is_coupled():
    """With a zero gradient, coupled L2 passes through Adam's normalization: a first step of the full learning rate.
    AdamW would take one of learning rate · decay · parameter.
    """
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-3, weight_decay=1e-5))
    params = {"a": jnp.array([2.0, -3.0])}
    updates, _ = optimizer.update({"a": jnp.zeros(2)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["a"], [-1e-3, 1e-3], rtol=2e-3)


def test_adamw_decays_apart_from_the_gradient_and_sgd_with_it():
    params = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(2, 2.0)}
    zero = jax.tree.map(jnp.zeros_like, params)

    def first(**fields):
        optimizer = make_optimizer(OptimizerConfig(learning_rate=0.1, weight_decay=0.5, **fields))
        updates, state = optimizer.update(zero, optimizer.init(params), params)
        return updates, optimizer.update(zero, state, params)[0]

    updates, _ = first(algorithm="adamw")
    jax.tree.map(lambda u: np.testing.assert_allclose(u, -0.1, rtol=1e-6), updates)  # rate · decay · parameter
    updates, second = first(algorithm="sgd", momentum=0.9, decay_kernels_only=True)
    np.testing.assert_allclose(updates["kernel"], -0.1, rtol=1e-6)
    np.testing.assert_allclose(second["kernel"], -0.19, rtol=1e-6)  # 1 + momentum times the first
    assert not np.any(updates["bias"])


def test_what_is_not_trainable_neither_moves_nor_decays():
    params = {"head": {"kernel": jnp.ones((2, 2))}, "head_of_others": {"kernel": jnp.ones((2, 2))}}
    optimizer = make_optimizer(OptimizerConfig(weight_decay=0.5), trainable=("head.",))
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert np.all(updates["head"]["kernel"]) and not np.any(updates["head_of_others"]["kernel"])
    masked = without_frozen(params, ("head.",))
    assert np.all(masked["head"]["kernel"]) and not np.any(masked["head_of_others"]["kernel"])
    with pytest.raises(ValueError, match="no parameter's name begins with 'tail'; they begin with head, head_of_oth"):
        require_trainable(params, ("head.", "tail"))


def test_polynomial_and_steps():
    polynomial = make_schedule(OptimizerConfig(learning_rate=2.0, schedule="polynomial", power=0.5), steps=100)
    for step, value in {0: 2.0, 75: 1.0, 100: 0.0, 200: 0.0}.items():
        assert float(polynomial(step)) == pytest.approx(value, abs=1e-6), step
    config = OptimizerConfig(learning_rate=2.0, schedule="steps", step_length=10, step_factor=0.1)
    falling = make_schedule(config, steps=100)
    for step, value in {0: 2.0, 9: 2.0, 10: 0.2, 25: 0.02}.items():
        assert float(falling(step)) == pytest.approx(value, rel=1e-5), step


def test_warm_up_then_half_a_cosine():
    rate = make_schedule(
        OptimizerConfig(learning_rate=2.0, schedule="cosine", warmup_steps=10, end_lr_factor=0.1), steps=110
    )
    expected = {0: 0.0, 5: 1.0, 10: 2.0, 60: 1.1, 110: 0.2, 200: 0.2}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-6), step
    constant = make_schedule(OptimizerConfig(learning_rate=2.0), steps=10)
    assert float(constant(0)) == float(constant(999)) == 2.0


def test_the_schedule_reaches_the_parameters():
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1.0, weight_decay=0, warmup_steps=2), steps=10)
    params = {"a": jnp.zeros(3)}
    state, moved = optimizer.init(params), []
    for _ in range(4):
        updates, state = optimizer.update({"a": jnp.ones(3)}, state, params)
        moved.append(-float(updates["a"][0]))
    np.testing.assert_allclose(moved, [0, 0.5, 1, 1], atol=1e-5)


def test_rates_fall_toward_the_image():
    """Three blocks: 1, 2 in stage 0, 3 in stage 1; the patch embedding is 0, the decoders are outside."""
    model = tiny_model(depths=(2, 1), num_heads=(1, 2))
    shapes = jax.eval_shape(functools.partial(PIM(model).init), jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    factors = rate_factors(shapes, OptimizerConfig(encoder_lr_scale=0.5, layer_decay=0.1))
    assert jax.tree.structure(factors) == jax.tree.structure(shapes)
    exponents = {"patch_embed": 4, "patch_norm": 4, "stage0_block0": 3, "stage0_block1": 2, "norm0": 2, "merge0": 2}
    exponents |= {"stage1_block0": 1, "norm1": 1}
    for encoder in ("encoder", "masked_encoder"):
        assert factors[encoder].keys() == exponents.keys()
        for layer, exponent in exponents.items():
            assert set(jax.tree.leaves(factors[encoder][layer])) == {0.5 * 0.1**exponent}
    assert set(jax.tree.leaves({name: part for name, part in factors.items() if "encoder" not in name})) == {1.0}
    # And they reach the parameters: Adam's first step has the rate's size.
    optimizer = make_optimizer(
        OptimizerConfig(learning_rate=1.0, weight_decay=0, encoder_lr_scale=0.5, layer_decay=0.1)
    )
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    jax.tree.map(lambda update, factor: np.testing.assert_allclose(update, -factor, rtol=1e-4), updates, factors)


class Toy(nn.Module):
    """The least that has a mask, a reconstruction and running statistics."""

    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images, train=False, sample_ids=None):
        x = nn.BatchNorm(use_running_average=not train)(images[:, ::4, ::4])
        return PIMOutput(nn.Dense(2)(x), None, nn.Dense(3)(x), Features((), (), (), ()))


RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (2, 8, 8, 3), np.uint8),
    "mask": RNG.integers(0, 2, (2, 2, 2), np.uint8),
    "boundary": RNG.integers(0, 2, (2, 2, 2), np.uint8),
    "target": RNG.standard_normal((2, 2, 2, 3), np.float32),
    "stop": np.zeros(2, bool),
}


def stepper(optimizer=None, ema_params=False, **recipe):
    """A step of the toy on one device, and its first state."""
    model, optimizer = Toy(), optimizer or make_optimizer(OptimizerConfig(learning_rate=0.1))
    partition = Partition(tuple(jax.devices()[:1]), "shard_map")
    state = init_state(model, optimizer, jax.random.key(0), ema_params)
    step = partition.map_step(
        functools.partial(train_step, StepConfig(model, optimizer, LossConfig(), **recipe)), state
    )
    # The state given to a step is donated; these tests look at it again.
    return lambda state, **changes: step(jax.tree.map(jnp.copy, state), partition.split_batch(BATCH | changes)), state


def test_a_loss_that_is_no_number_changes_nothing_but_the_count():
    step, state = stepper(ema_decay=0.9, ema_params=True)
    state, metrics = step(state)
    assert not metrics["bad"]
    target = BATCH["target"].copy()
    target[1, 0, 0, 0] = np.nan
    after, metrics = step(state, target=target)
    assert metrics["bad"]
    assert np.isnan(metrics["loss/total"])
    assert int(after.step) == int(state.step) + 1
    floats = lambda state: [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, floats(after), floats(state))
    good, metrics = step(after)
    assert not metrics["bad"]
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, good.params, state.params))) > 0.1


def test_a_spike_is_many_times_the_usual_loss():
    step, state = stepper(spike=3.0)
    _, metrics = step(state)
    loss = float(metrics["loss/total"])
    for usual, steps, bad in ((loss / 2, 60, False), (loss / 4, 60, True), (loss / 4, 3, False)):
        after, metrics = step(state.replace(loss_ema=jnp.float32(usual), step=jnp.int32(steps)))
        assert bool(metrics["bad"]) == bad
        assert float(after.loss_ema) == pytest.approx(usual if bad else 0.98 * usual + 0.02 * loss, rel=1e-5)


def test_the_gradient_is_clipped_as_a_whole():
    step, state = stepper(optax.sgd(1.0), grad_clip_norm=0.01)
    after, metrics = step(state)
    assert metrics["gradient_norm"] > 0.1  # before clipping
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, state.params))
    assert float(moved) == pytest.approx(0.01, rel=1e-3)


def test_the_average_follows_the_parameters():
    step, state = stepper(ema_decay=0.15, ema_params=True)
    expected = jax.tree.map(np.asarray, state.params)
    for kept in (0.1, 0.15, 0.15):  # (1 + t) / (10 + t), then the decay
        state, _ = step(state)
        expected = jax.tree.map(lambda old, new, k=kept: k * old + (1 - k) * np.asarray(new), expected, state.params)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), state.ema_params, expected)


def test_one_process_that_was_asked_to_end_tells_all():
    step, state = stepper()
    assert not step(state)[1]["stop"]
    assert step(state, stop=np.array([False, True]))[1]["stop"]


@pytest.mark.parametrize(
    ("shape", "count", "axis"),
    [((3, 3, 8, 16), 8, 3), ((16, 8), 8, 0), ((9, 3), 4, None), ((16,), 8, None), ((), 8, None), ((16, 8), 1, None)],
)
def test_the_longest_even_axis_is_shared_out(shape, count, axis):
    assert shard_axis(shape, count) == axis
