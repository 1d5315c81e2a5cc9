"""The same function however it is computed: folded, in half precision, rematerialised, in parts, by Winograd."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilation import AS_RELEASED

from pimjax import PIM
from pimjax.config import LossConfig, OptimizerConfig, tiny_model
from pimjax.models.layers import Conv, Execution, convolve, resize_bilinear
from pimjax.models.swin import SwinEncoder
from pimjax.models.winograd import winograd_convolve
from pimjax.training.losses import Targets
from pimjax.training.optimizer import make_optimizer
from pimjax.training.step import accumulated_gradients, init_state
from pimjax.weights.fold import fold_batch_norm

CONFIG = tiny_model(
    depths=(2,), num_heads=(1,), pool_scales=(1, 2), drop_path_rate=0.0, dropout_rate=0.0
)  # quick to compile
IMAGES = jax.random.normal(jax.random.key(1), (2, 40, 52, 3))


def direct(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@functools.cache
@jax.ensure_compile_time_eval()
def state():
    """The tiny model's state, its running statistics as if it had been trained."""
    fresh = init_state(PIM(CONFIG), make_optimizer(OptimizerConfig()), jax.random.key(0))
    leaves, structure = jax.tree.flatten(fresh.batch_stats)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    stats = [0.5 + jax.random.uniform(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return fresh.replace(batch_stats=jax.tree.unflatten(structure, stats))


def variables():
    return {"params": state().params, "batch_stats": state().batch_stats}


def targets(images):
    small = images[:, ::4, ::4]
    return Targets((small[..., 0] > 0).astype(jnp.uint8), (small[..., 1] > 1).astype(jnp.uint8), small)


@functools.partial(jax.jit, static_argnames=("execution", "parts"))
def gradients(images, execution=Execution(), parts=1):  # noqa: B008
    model = PIM(CONFIG, execution)
    return accumulated_gradients(model, LossConfig(), state(), images, targets(images), jax.random.key(3), parts)


def distance(a, b):
    """Norm of the difference of two trees of arrays over the norm of the second."""
    return optax.tree.norm(jax.tree.map(jnp.subtract, a, b)) / optax.tree.norm(b)


def test_folding_batch_norm_changes_no_output():
    jit = functools.partial(jax.jit, compiler_options=AS_RELEASED)
    plain = jit(PIM(CONFIG).apply)(variables(), IMAGES)
    folded = fold_batch_norm(variables())
    assert len(jax.tree.leaves(folded["params"])) < len(jax.tree.leaves(state().params))
    out = jit(PIM(CONFIG, Execution(folded=True)).apply)(folded, IMAGES)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), out, plain)


def test_bfloat16_computes_maps_in_half_precision_and_keeps_the_rest():
    model = PIM(CONFIG, Execution(dtype=jnp.bfloat16))
    out = jax.jit(model.apply)(variables(), IMAGES)
    assert {x.dtype for maps in out.features for x in maps} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in out[:3]} == {jnp.dtype(jnp.float32)}
    exact = jax.jit(PIM(CONFIG).apply)(variables(), IMAGES)
    difference = [
        np.abs(ours - theirs).mean() / np.std(theirs) for ours, theirs in zip(out[:3], exact[:3], strict=True)
    ]
    assert 1e-4 < max(difference) < 0.05
    grads, terms, stats = gradients(IMAGES, Execution(dtype=jnp.bfloat16))
    assert {x.dtype for x in jax.tree.leaves((grads, terms, stats))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(terms["total"], gradients(IMAGES)[1]["total"], rtol=0.01)


def test_bfloat16_still_tells_a_gray_level_from_the_next():
    """Half precision has 8 bits, and pixels sit on top of their brightness; the traces are in the last bit."""
    config = dataclasses.replace(CONFIG, high_pass_init=True)
    ramp = jnp.tile(jnp.linspace(2.0, 2.6, 32)[:, None], (1, 32, 1, 3))
    noisy = ramp + jnp.asarray(np.random.default_rng(0).integers(0, 2, ramp.shape)) / 255 / 0.226
    fresh = jax.jit(SwinEncoder(config).init, static_argnums=2)(jax.random.key(0), ramp, False)

    def change(dtype, noisy):
        encode = jax.jit(lambda x: SwinEncoder(config, execution=Execution(dtype=dtype)).apply(fresh, x, False)[0])
        return np.ravel((encode(noisy) - encode(ramp)).astype(jnp.float32))

    exact = change(None, noisy)
    assert np.corrcoef(change(jnp.bfloat16, noisy), exact)[0, 1] > 0.99
    rounded = noisy.astype(jnp.bfloat16).astype(jnp.float32)
    assert np.corrcoef(change(None, rounded), exact)[0, 1] < 0.9  # what it would be had the image been rounded


def test_rematerialisation_changes_no_number_and_keeps_less():
    assert distance(gradients(IMAGES, Execution(remat=True)), gradients(IMAGES)) < 1e-4

    def kept(execution):
        """What the backward pass is handed, in bytes. (XLA's CPU backend may still merge the repeated work.)"""
        model = PIM(CONFIG, execution)

        def forward(params):
            output, _ = model.apply(
                {"params": params, "batch_stats": state().batch_stats},
                IMAGES,
                train=True,
                rngs={"dropout": jax.random.key(0)},
                mutable=["batch_stats"],
            )
            return output[:3]

        residuals = jax.eval_shape(lambda params: jax.vjp(forward, params)[1], state().params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(residuals))

    assert kept(Execution(remat=True)) < 0.3 * kept(Execution())


def test_accumulated_gradients_are_the_mean_of_the_parts():
    (first, terms, stats), (second, _, _) = gradients(IMAGES[:1]), gradients(IMAGES[1:])
    both, _, _ = gradients(IMAGES, parts=2)
    assert distance(both, jax.tree.map(lambda a, b: (a + b) / 2, first, second)) < 1e-4
    # Two equal parts: the losses of one, and the running statistics.
    _, twice_terms, twice_stats = gradients(jnp.concatenate([IMAGES[:1]] * 2), parts=2)
    assert distance(twice_terms, terms) < 1e-5
    assert distance(twice_stats, stats) < 1e-5


@pytest.mark.parametrize("shape", [(2, 6, 8), (1, 5, 7), (1, 1, 1), (3, 2, 9)])
def test_winograd_convolution_and_its_gradients(shape):
    x = jax.random.normal(jax.random.key(0), (*shape, 5))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 5, 4))
    np.testing.assert_allclose(winograd_convolve(x, kernel), direct(x, kernel), atol=1e-5)
    ours, theirs = (
        jax.grad(lambda x, kernel, f=f: (f(x, kernel) ** 3).sum(), (0, 1))(x, kernel)
        for f in (winograd_convolve, direct)
    )
    assert distance(ours, theirs) < 1e-5


def test_wide_convolutions_are_winograds_on_a_cpu_and_the_librarys_elsewhere():
    x, kernel = jax.ShapeDtypeStruct((1, 16, 16, 256), jnp.float32), jax.ShapeDtypeStruct((3, 3, 256, 256), jnp.float32)
    traced = jax.jit(lambda x, kernel: jax.grad(lambda k: convolve(x, k).sum())(kernel)).trace(x, kernel)
    for platform, own in (("cpu", True), ("cuda", False), ("tpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) != own, platform


def test_wide_convolution_computes_what_the_plain_one_does():
    x = jax.random.normal(jax.random.key(0), (1, 9, 10, 256))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 256, 256)) / 48  # sums of 9·256 products
    np.testing.assert_allclose(convolve(x, kernel), direct(x, kernel), atol=1e-5)


def test_convolution_of_several_maps_is_that_of_their_concatenation():
    maps = [jax.random.normal(jax.random.key(n), (2, n, n + 1, c)) for n, c in ((8, 3), (4, 5), (1, 2))]
    conv = Conv(6, 3)
    params = conv.init(jax.random.key(0), *maps)
    enlarged = jnp.concatenate([resize_bilinear(x, 8, 9) for x in maps], axis=-1)
    np.testing.assert_allclose(conv.apply(params, *maps), direct(enlarged, params["params"]["kernel"]), atol=1e-5)
