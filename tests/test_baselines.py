"""The baselines: published sizes, PIM's call and output, and the same loop, loss, checkpoints and files."""

import dataclasses
import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pimjax import Localizer
from pimjax.cli import main
from pimjax.config import (
    Config,
    DataConfig,
    DeepLabV3Config,
    FCNConfig,
    LossConfig,
    ModelConfig,
    NetworkConfig,
    OptimizerConfig,
    TrainConfig,
    UNetConfig,
    ViTConfig,
)
from pimjax.config.load import from_dict, read_config
from pimjax.config.networks import COMPARED
from pimjax.config.schema import NETWORKS
from pimjax.config.validate import check, check_model
from pimjax.models.factory import create_model
from pimjax.models.layers import ConvBN, Execution, convolve
from pimjax.models.resnet import ResNet
from pimjax.training.loop import run
from pimjax.training.losses import Targets
from pimjax.training.optimizer import rate_factors
from pimjax.training.step import loss_and_gradients, state_from
from pimjax.weights.fold import fold_batch_norm
from pimjax.weights.load import load_model
from pimjax.weights.names.pim import variable_shapes
from pimjax.weights.runs import load_variables

CONFIGS = Path(__file__).parent.parent / "configs"
TINY = {
    "fcn": FCNConfig(embed_dim=8, depths=(1, 1, 1), decoder_channels=8),
    "deeplabv3": DeepLabV3Config(embed_dim=8, depths=(1, 1, 1), decoder_channels=8, dropout_rate=0.1),
    "unet_stride4": UNetConfig(embed_dim=8, depths=(2, 1, 1)),
    "vit": ViTConfig(embed_dim=8, depths=(2,), num_heads=(2,), mlp_ratio=2, decoder_channels=8),
}
IMAGES = jax.random.normal(jax.random.key(1), (2, 37, 53, 3))
EXACT = dict(atol=1e-5, rtol=1e-5)

# Two classes everywhere. PUBLISHED are torchvision's counts for 21 classes and with an auxiliary head (2,365,205); a
# classifier from C channels has C·n + n.
PARAMETERS = {
    "fcn": 35_322_218 - 2_365_205 - (512 * 21 + 21) + (512 * 2 + 2),
    "deeplabv3": 42_004_074 - 2_365_205 - (256 * 21 + 21) + (256 * 2 + 2),
    # Two 3×3 convolutions on each of nine levels, 9·C·O, each with a BatchNorm, 2·O; four transposed ones 4·C·O + O.
    # Down, in units of 64 channels squared: 1, then (1·2 + 2·2) + (2·4 + 4·4) + (4·8 + 8·8) + (8·16 + 16·16) = 510;
    # up: (16·8 + 8·8) + (8·4 + 4·4) + (4·2 + 2·2) + (2·1 + 1·1) = 255; transposed: 128 + 32 + 8 + 2 = 170.
    # BatchNorms: 2·2·64·(1 + 2 + 4 + 8 + 16 + 8 + 4 + 2 + 1); biases of the transposed: 64·(8 + 4 + 2 + 1).
    "unet_stride4": 9 * 3 * 64 + (9 * (1 + 510 + 255) + 4 * 170) * 64**2 + 256 * 46 + 64 * 15 + 64 * 2 + 2,
    # ViT-B/16's published encoder less the class token and its position; head 1×1 and BatchNorm; classifier.
    "vit": 85_798_656 - 2 * 768 + 768 * 256 + 2 * 256 + (256 * 2 + 2),
    # Swin-T without its classifier (28,288,354 − 768·1000 − 1000), with LayerNorms of four stages (2·96·15) in place of
    # one (2·768); UPerNet of 512 channels, as in PIM. With mmsegmentation's 150 classes and auxiliary head: 59.94 M.
    "swin_upernet": 27_519_354 - 2 * 768 + 2 * 96 * 15 + 31_421_442,
}


def count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fcn", 32_947_266),
        ("deeplabv3", 39_633_986),
        ("unet_stride4", 31_037_698),
        ("vit", 85_994_754),
        ("swin_upernet", 58_942_140),
    ],
)
def test_configurations_have_the_published_sizes_and_recipe(name, expected):
    config = read_config(CONFIGS / "baselines" / f"{name}.py")
    check(config)
    assert count(variable_shapes(config.model)["params"]) == expected == PARAMETERS[name]
    assert f"{expected:,}" in (CONFIGS / "baselines" / f"{name}.py").read_text(encoding="utf-8")
    published = read_config(CONFIGS / "pim.py")
    assert dataclasses.replace(config, workdir=published.workdir, model=published.model) == published


def test_every_baseline_is_configured_and_tested():
    assert {"pim", *TINY} == set(NETWORKS)
    trained = COMPARED.keys() - {"cat_net", "vit_b_16"}
    assert {path.stem for path in (CONFIGS / "baselines").glob("*.py")} == PARAMETERS.keys() | trained


def test_what_only_pim_has_is_refused():
    with pytest.raises(ValueError, match=r"config\.model\.raster_mask: no such key; there are embed_dim"):
        TINY["unet_stride4"].raster_mask = False
    with pytest.raises(ValueError, match=r"config\.model\.depths is \(2, 2\); it must have 1 to 1 items"):
        ViTConfig(depths=(2, 2))
    with pytest.raises(ValueError, match="5 channels, which 2 heads cannot share evenly"):
        check_model(ViTConfig(embed_dim=5, num_heads=(2,)))
    with pytest.raises(ValueError, match="'segnet': no such network; there are pim, fcn"):
        create_model("segnet")
    with pytest.raises(ValueError, match=r"config\.model\.raster_mask: no such key"):
        create_model("unet_stride4", raster_mask=False)
    without = Config(model=TINY["unet_stride4"], loss=LossConfig(mask=0))
    with pytest.raises(ValueError, match=r"only decoders that config\.model does not have"):
        check(without)
    check(dataclasses.replace(without, model=ModelConfig()))


def test_a_model_has_a_name_and_fields():
    assert create_model("vit", embed_dim=8).config == ViTConfig(embed_dim=8)
    assert create_model("pim") == create_model(ModelConfig())


def test_a_network_of_an_older_pimjax_loads():
    """It had one section for all networks, with every field of PIM's."""
    old = vars(ModelConfig()) | {"architecture": "vit", "embed_dim": 8, "depths": [2], "num_heads": [2], "patch": 4}
    old.pop("patch_size")
    assert from_dict(NetworkConfig, old) == ViTConfig(
        embed_dim=8, depths=(2,), num_heads=(2,), decoder_channels=512, drop_path_rate=0.3
    )
    assert from_dict(Config, {"model": old}).model.architecture == "vit"


def test_the_resnet_is_dilated_from_the_third_stage_on():
    """As torchvision's with replace_stride_with_dilation=(False, True, True): a stage's first block lags behind."""
    seen = []

    def spy(next_call, args, kwargs, context):
        module = context.module
        if isinstance(module, ConvBN) and module.name == "spatial" and context.method_name == "__call__":
            seen.append((module.stride, module.dilation))
        return next_call(*args, **kwargs)

    config = ModelConfig(embed_dim=4, depths=(1, 2, 2, 2))
    with nn.intercept_methods(spy):
        out, _ = jax.eval_shape(
            lambda: ResNet(config).init_with_output(jax.random.key(0), jnp.zeros((1, 64, 40, 3)), False)
        )
    assert list(dict.fromkeys(seen)) == [(1, 1), (2, 1), (1, 2), (1, 4)]
    assert out.shape == (1, 8, 5, 128)


@pytest.mark.parametrize(("k", "stride", "dilation"), [(1, 2, 1), (3, 2, 1), (3, 1, 4), (7, 2, 1)])
def test_strided_and_dilated_convolutions_are_samples_and_gaps_of_plain_ones(k, stride, dilation):
    x = jax.random.normal(jax.random.key(0), (1, 9, 12, 2))
    kernel = jax.random.normal(jax.random.key(1), (k, k, 2, 3))
    spread = dilation * (k - 1) + 1
    with_gaps = jnp.zeros((spread, spread, 2, 3)).at[::dilation, ::dilation].set(kernel)
    plain = convolve(x, with_gaps)[:, ::stride, ::stride]
    np.testing.assert_allclose(convolve(x, kernel, stride, dilation), plain, atol=1e-4)


@functools.cache
def variables(name):
    """Variables of the tiny network, as if it had been trained; drawn by numpy, since initializing it is compiled."""
    rng = np.random.default_rng(0)

    def leaf(path, shape):
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, shape.shape).astype(np.float32)
        fan_in = np.float32(max(np.prod(shape.shape[:-1]), 16))
        return rng.standard_normal(shape.shape, np.float32) / np.sqrt(fan_in)

    return jax.tree_util.tree_map_with_path(leaf, variable_shapes(TINY[name]))


@pytest.mark.parametrize("name", TINY)
def test_outputs_are_those_of_pim_and_folding_changes_none(name):
    plain = jax.jit(create_model(TINY[name]).apply)(variables(name), IMAGES)
    assert plain.mask_logits.shape == (2, 10, 14, 2)
    assert plain.boundary_logits is plain.reconstruction is None
    assert np.std(plain.mask_logits) > 0
    folded = fold_batch_norm(variables(name))
    assert not jax.tree.leaves(folded["batch_stats"])
    out = jax.jit(create_model(TINY[name], Execution(folded=True)).apply)(folded, IMAGES)
    np.testing.assert_allclose(out.mask_logits, plain.mask_logits, **EXACT)
    half = jax.jit(create_model(TINY[name], Execution(dtype=jnp.bfloat16)).apply)(variables(name), IMAGES)
    assert half.mask_logits.dtype == jnp.float32
    difference = np.abs(half.mask_logits - plain.mask_logits).mean() / np.std(plain.mask_logits)
    assert 1e-4 < difference < 0.1


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_learns(name):
    """Through remat, dropout and BatchNorm: finite gradients that are not zero, and a loss that falls."""
    model, optimizer = create_model(TINY[name], Execution(remat=True)), optax.sgd(0.1)
    state = state_from(variables(name), optimizer, jax.random.key(0))
    images = jax.random.normal(jax.random.key(2), (2, 32, 48, 3))
    mask = (jnp.arange(12) < 5)[None, None].repeat(8, 1).repeat(2, 0).astype(jnp.uint8)
    targets = Targets(mask, mask, images[:, ::4, ::4])
    images = images + mask.repeat(4, 1).repeat(4, 2)[..., None]

    @jax.jit
    def step(state):
        gradients, terms, stats = loss_and_gradients(model, LossConfig(), state, images, targets, jax.random.key(3))
        updates, opt_state = optimizer.update(gradients, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        return state.replace(params=params, batch_stats=stats, opt_state=opt_state), gradients, terms

    losses = []
    for i in range(4):
        state, gradients, terms = step(state)
        losses.append(float(terms["total"]))
        if i == 0:
            dead = [
                jax.tree_util.keystr(path)
                for path, gradient in jax.tree_util.tree_leaves_with_path(gradients)
                if not (np.isfinite(gradient).all() and np.any(gradient))
            ]
            assert not dead
    assert terms.keys() == {"total", "mask"}
    assert losses[-1] < losses[0]


def test_rates_fall_toward_the_image_in_these_encoders_too():
    for name, first in (("vit", "patch_position"), ("fcn", "stem")):
        factors = rate_factors(variable_shapes(TINY[name])["params"], OptimizerConfig(layer_decay=0.1))
        blocks = sum(TINY[name].depths)
        assert set(jax.tree.leaves(factors["encoder"][first])) == {0.1 ** (blocks + 1)}
        assert set(jax.tree.leaves(factors["encoder"]["stage0_block0"])) == {0.1**blocks}
        assert set(jax.tree.leaves(factors["head"])) == {1.0}


def test_a_baseline_runs_resumes_and_is_kept_as_pim_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:1]))
    config = Config(
        workdir=str(tmp_path / "run"),
        model=UNetConfig(embed_dim=8, depths=(1, 1)),  # quick to compile
        data=DataConfig(image_size=32, resize_mode="crop", batch_size=2, validation_images=2, num_workers=0),
        train=TrainConfig(num_steps=2, validate_every=2, log_every=1, checkpoint_every=2),
    )
    assert {row["metric"] for row in run(config)} == {"f1", "iou", "mcc", "auc"}
    config.train.num_steps = 4
    run(config)
    photo = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    result = Localizer.load(tmp_path / "run")(photo, details=True)
    assert result.boundary is result.reconstruction is None
    # Of the run's best checkpoint to each format and back.
    stored, _ = load_variables(tmp_path / "run")
    for target in ("native", "one.safetensors"):
        assert main(["convert", str(tmp_path / "run"), str(tmp_path / target)]) == 0
        again, card = load_model(tmp_path / target)
        assert card.model == config.model
        jax.tree.map(np.testing.assert_array_equal, again, stored)
        np.testing.assert_array_equal(Localizer.load(tmp_path / target)(photo).probability, result.probability)
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "one.pth")]) != 0
    assert "no PyTorch model for this 'unet_stride4'" in capsys.readouterr().err
