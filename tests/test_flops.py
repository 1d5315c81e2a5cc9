"""How many operations the published model takes at 512², by XLA's count, beside the network as it is written down."""

import functools

import jax
import jax.numpy as jnp
import pytest

from pimjax import PIM, ModelConfig
from pimjax.config import LossConfig, OptimizerConfig
from pimjax.models import layers, local_stream
from pimjax.training.losses import Targets
from pimjax.training.optimizer import make_optimizer
from pimjax.training.step import init_state, loss_and_gradients

SIZE = 512
MODEL = PIM(ModelConfig())
STATE = functools.partial(jax.eval_shape, functools.partial(init_state, MODEL, make_optimizer(OptimizerConfig())))


def operations(function, *arguments):
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


def inference(outputs):
    """Of the first so many of mask, boundary and reconstruction."""
    state = STATE(jax.random.key(0))
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return operations(lambda variables, images: MODEL.apply(variables, images)[:outputs], variables, images)


def training():
    small = (1, SIZE // 4, SIZE // 4)
    labels = jax.ShapeDtypeStruct(small, jnp.uint8)
    return operations(
        lambda state, images, targets: loss_and_gradients(
            MODEL, LossConfig(), state, images, targets, jax.random.key(0)
        ),
        STATE(jax.random.key(0)),
        jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32),
        Targets(labels, labels, jax.ShapeDtypeStruct((*small, 3), jnp.float32)),
    )


def convolve_enlarged(x, kernel, height, width):
    return layers._convolve_directly(layers.resize_bilinear(x, height, width), kernel)


def dense_radial_difference(x, kernel):
    """As many operations as the 5×5 convolution of the specification; where its entries stand is all the same here."""
    return layers._convolve_directly(x, jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0))))


@pytest.fixture
def as_an_accelerator(monkeypatch):
    """Plain 3×3 convolutions, as every backend but the CPU's gets them."""
    monkeypatch.setattr(layers, "_convolve_wide", layers._convolve_directly)


@pytest.fixture
def as_written_down(monkeypatch, as_an_accelerator):
    """Maps enlarged before the decoders' convolutions, and the radial difference as one dense convolution."""
    monkeypatch.setattr(layers, "convolve_resized", convolve_enlarged)
    monkeypatch.setattr(local_stream, "radial_difference", dense_radial_difference)


# What `pytest -s` prints goes into the README; the literals are XLA's counts of the network as written down.
WRITTEN_DOWN = {"three outputs": 1.41e12, "training step": 4.21e12}


def test_the_network_as_written_down(as_written_down):
    counts = {"three outputs": inference(3), "training step": training()}
    print({name: f"{count / 1e9:.0f} G" for name, count in counts.items()})
    assert counts == pytest.approx(WRITTEN_DOWN, rel=0.02)


def test_operations_of_an_accelerator(as_an_accelerator):
    mask, step = inference(1), training()
    print(f"mask {mask / 1e9:.0f} G, three outputs {inference(3) / 1e9:.0f} G, training step {step / 1e9:.0f} G")
    assert mask <= 0.30 * WRITTEN_DOWN["three outputs"]
    assert step <= 0.60 * WRITTEN_DOWN["training step"]


def test_operations_of_a_cpu():
    mask, step = inference(1), training()
    print(f"mask {mask / 1e9:.0f} G, three outputs {inference(3) / 1e9:.0f} G, training step {step / 1e9:.0f} G")
    assert mask <= 0.18 * WRITTEN_DOWN["three outputs"]
    assert step <= 0.35 * WRITTEN_DOWN["training step"]
