"""The compared networks in `train.py`: what is refused, a short run that becomes a model, and eight images learned."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pimjax.config import ComparedLossConfig, Config, DataConfig, ForgeryConfig, PidaConfig, TrainConfig
from pimjax.config.networks import COMPARED, trained_parts
from pimjax.config.validate import check
from pimjax.config.values import ConfigError
from pimjax.data.donors import Donors
from pimjax.data.pipeline import validation_set
from pimjax.data.registry import load_source
from pimjax.inference.compared import network_inputs
from pimjax.inference.localizer import Localizer
from pimjax.jpeg.coefficients import as_jpeg, read_coefficients
from pimjax.models.factory import create_model
from pimjax.models.layers import Execution
from pimjax.models.preprocessing import preprocessing_of
from pimjax.models.released import variable_shapes
from pimjax.models.trained import Trained, TrainedOutput, network_input, saved_coefficients
from pimjax.normalization import normalize
from pimjax.training.compared_losses import compared_loss
from pimjax.training.init_params import fresh_variables
from pimjax.training.loop import run
from pimjax.training.losses import Targets
from pimjax.training.optimizer import without_frozen
from pimjax.training.setup import create_train_context, create_train_state
from pimjax.training.step import loss_and_gradients, state_from
from pimjax.weights import to_released
from pimjax.weights.backbones import _fits, start_from
from pimjax.weights.runs import load_variables

PIDA = PidaConfig(kinds=ForgeryConfig(pida=0.0, splicing=1.0))


def small_run(tmp_path, name, **changes):
    return Config(
        workdir=str(tmp_path / "run"),
        model=COMPARED[name](**changes),
        pida=PIDA,
        data=DataConfig(image_size=64, resize_mode="crop", batch_size=8, num_workers=0, validation_images=4),
        train=TrainConfig(num_steps=2, validate_every=2, log_every=1),
    )


def test_a_run_becomes_a_model_that_predicts(tmp_path):
    rows = run(small_run(tmp_path, "unet", embed_dim=2))
    assert [row["metric"] for row in rows][:3] == ["f1", "iou", "mcc"]
    localizer = Localizer.load(tmp_path / "run")
    assert localizer.card.model == COMPARED["unet"](embed_dim=2)
    photo = load_source("installed:validation")[0]["image"][:50, :70]
    assert localizer(photo).probability.shape == (50, 70)


def test_parts_that_are_frozen_stay_and_a_run_goes_on_in_half_precision(tmp_path, monkeypatch):
    monkeypatch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:1]))
    config = small_run(tmp_path, "evp", embed_dim=4, depths=(1, 1, 1, 1), decoder_channels=8)
    config.optimizer.trainable = ("backbone.prompt_generator", "decode_head")
    config.optimizer.algorithm, config.optimizer.weight_decay = "adamw", 0.1
    config.data.batch_size, config.data.image_size, config.train.grad_accum_steps = 4, 32, 2
    config.train.precision, config.train.remat = "bfloat16", True
    context = create_train_context(config)
    before = create_train_state(context).params
    run(config)
    config.train.num_steps = 4
    run(config)
    after = load_variables(tmp_path / "run")[0]["params"]
    moved = {
        ".".join(str(entry.key) for entry in path)
        for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
        if np.any(np.asarray(old) != new)
    }
    assert moved
    assert all(name.startswith(config.optimizer.trainable) for name in moved)
    config.optimizer.trainable = ("decoder",)
    with pytest.raises(ValueError, match="no parameter's name begins with 'decoder'; they begin with backbone, decode"):
        create_train_context(config)


@pytest.mark.parametrize(
    ("name", "train", "what"),
    [
        ("vit_b_16", {}, "vit_b_16 has no mask to train then"),
        ("evp", {"sync_batch_norm": True}, "evp is trained without sync_batch_norm"),
    ],
)
def test_what_is_not_trained_is_one_line(tmp_path, name, train, what):
    config = small_run(tmp_path, name)
    for key, value in train.items():
        setattr(config.train, key, value)
    with pytest.raises(ConfigError, match=what):
        check(config)


def test_h_lstm_may_see_gray_levels_as_they_are():
    images = normalize(jnp.full((1, 256, 256, 3), 200, jnp.uint8))
    for saturate, seen in ((True, 1.0), (False, 200 / 127)):
        config = COMPARED["h_lstm"](saturate=saturate)
        how = preprocessing_of(config)
        np.testing.assert_allclose(network_input(images, how), seen, rtol=1e-5)
        np.testing.assert_allclose(network_inputs(np.full((9, 9, 3), 200, np.uint8), b"", how)["images"], seen)
        assert create_model(config).batch_statistics  # its input is no field of the network


def test_cat_net_is_trained_on_crops_as_if_saved_at_quality_100(tmp_path):
    config = small_run(tmp_path, "cat_net")
    check(config)
    config.data.image_size = 60
    with pytest.raises(ConfigError, match="image_size is 60; cat_net takes whole blocks of 8 pixels"):
        check(config)
    photo = load_source("installed:validation")[0]["image"][:64, :96]
    stored, steps = read_coefficients(as_jpeg(b"", photo)[0])
    ours = np.asarray(saved_coefficients(jnp.asarray(photo[None], jnp.float32))[0])
    assert (steps == 1).all()
    assert np.abs(ours - stored).max() <= 1
    assert np.mean(ours == stored) > 0.95


@pytest.mark.parametrize(("pixel", "power"), [("focal", 2), ("cross_entropy", 0)])
def test_hp_fcn_s_pixel_loss_is_chosen(tmp_path, pixel, power):
    config = small_run(tmp_path, "hp_fcn")
    config.compared_loss.pixel = pixel
    check(config)
    logits = jnp.stack([jnp.zeros((1, 4, 4)), jnp.full((1, 4, 4), 2.0)], -1)
    p = 1 / (1 + np.exp(-2))
    output = TrainedOutput(logits, None, None, Logits(logits))
    targets = Targets(jnp.ones((1, 1, 1)), jnp.zeros((1, 1, 1)), None, jnp.ones((1, 4, 4)))
    terms = compared_loss(config.model, output, targets, config.compared_loss, {"weights": jnp.ones(2)})
    assert terms["mask"] == pytest.approx((1 - p) ** power * -np.log(p), rel=1e-5)
    assert terms["total"] == pytest.approx(float(terms["mask"]) + 1e-5, rel=1e-5)
    config.model = COMPARED["unet"]()
    if pixel != "focal":
        with pytest.raises(ConfigError, match="pixel is of hp_fcn alone; leave it out for unet"):
            check(config)


class Logits(NamedTuple):
    logits: jax.Array


def learned(name, side, steps, rate, key=0, **fields):
    """The best F1 on eight images, from fresh parameters, by the network's own loss and Adam, without drops."""
    no_drops = {"dropout_rate": 0.0, "drop_path_rate": 0.0, "score_dropout_rate": 0.0}
    fields |= {key: value for key, value in no_drops.items() if hasattr(COMPARED[name](), key)}
    model = Trained(COMPARED[name](**fields), Execution(remat=True))
    data = DataConfig(image_size=side, resize_mode="crop", validation_images=8)
    source = load_source("installed:train")
    assert Donors((source,))
    examples = validation_set((source,), data, PIDA, 0)
    images = normalize(jnp.asarray(examples["image"]))
    targets = Targets(*(jnp.asarray(examples[key]) for key in ("mask", "boundary", "target", "full")))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = state_from(fresh_variables(model, jax.random.key(key)), optimizer, jax.random.key(0))

    def step(state, _):
        gradients, _, stats = loss_and_gradients(model, ComparedLossConfig(), state, images, targets, jax.random.key(0))
        gradients = without_frozen(gradients, trained_parts(model.config))
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state.replace(params=params, opt_state=opt_state, batch_stats=stats), global_norms(gradients)

    def f1(state):
        given = {"params": state.params, "batch_stats": state.batch_stats}
        rngs = {"dropout": jax.random.key(0)}
        output, _ = model.apply(given, images, train=True, mutable=["batch_stats"], rngs=rngs)
        marked, truth = output.network.probability > 0.5, targets.full > 0
        sums = [part.sum((1, 2)) for part in (marked & truth, marked, truth)]
        return (2 * sums[0] / (sums[1] + sums[2] + 1e-6)).mean()

    # conftest.py has XLA optimize nothing, which makes of seconds minutes here.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})
    def several(state):
        state, norms = jax.lax.scan(step, state, length=10)
        return state, jax.tree.map(jnp.max, norms), f1(state)

    best, ever = 0.0, None
    number = 0
    while best <= 0.9 and number < steps:
        number += 10
        state, norms, now = several(state)
        ever = norms if ever is None else jax.tree.map(jnp.maximum, ever, norms)
        best = max(best, float(now))
    print(f"{name}: F1 {best:.3f} after {number} steps of Adam {rate}")
    idle = tuple(UNTRAINED.get(name, ()))
    dead = [jax.tree_util.keystr(path) for path, norm in jax.tree_util.tree_leaves_with_path(ever) if not norm]
    return best, [path for path in dead if not any(part in path for part in idle)]


def global_norms(gradients):
    return jax.tree.map(lambda gradient: jnp.sqrt(jnp.square(gradient).sum()), gradients)


TINY = {
    "fcn_resnet50": {"embed_dim": 8, "depths": (1, 1, 1, 1), "decoder_channels": 16},
    "deeplabv3_resnet50": {"embed_dim": 8, "depths": (1, 1, 1, 1), "decoder_channels": 16},
    "unet": {"embed_dim": 4},
    "vit_b_16": {"embed_dim": 64, "depths": (2,), "num_heads": 2, "decoder_channels": 32},
    "mfcn": {"embed_dim": 8, "hidden_dim": 32},
    "rru_net": {"embed_dim": 8},
    "mvss_net": {"embed_dim": 4, "depths": (1, 1, 1, 1)},
    "pscc_net": {"embed_dim": 4, "stem_dim": 8, "crop": (32, 32)},
    "cat_net": {"embed_dim": 4, "depths": (1, 1, 1), "dct_depths": (1, 1)},
    "evp": {"embed_dim": 8, "depths": (1, 1, 1, 1), "decoder_channels": 16},
    "trufor": {"embed_dim": 8, "depths": (1, 1, 1, 1), "decoder_channels": 16},
}
TINY |= {"mantra_net": {"embed_dim": 4}, "span": {"embed_dim": 4}}
TINY |= {"hp_fcn": {"embed_dim": 8}, "h_lstm": {"embed_dim": 8}}
SIDES = {
    "h_lstm": 256,
    "mvss_net": 160,  # its map is a sixteenth
    "vit_b_16": 192,
    **dict.fromkeys(("fcn_resnet50", "deeplabv3_resnet50", "cat_net", "evp", "trufor"), 64),
}
assert TINY.keys() == set(COMPARED)
RATES = {"fcn_resnet50": 1e-2, "h_lstm": 1e-3}
KEYS = {"mvss_net": 2}  # by others, a ReLU of its edge branch, which has one channel, begins dead and stays so
# Parts that the recipes freeze, or whose output nobody reads.
UNTRAINED = {"trufor": ["dncnn"], "evp": ["conv_seg"], "hp_fcn": ["postnorm"]}
UNTRAINED |= {"mantra_net": ["min_std"]}  # a floor that no deviation comes down to here
QUICK = ("unet", "mfcn")  # half a minute each, as much as all others' shortest


@pytest.mark.parametrize("name", QUICK)
def test_a_small_form_soon_learns_eight_images(name):
    best, dead = learned(name, SIDES.get(name, 32), 1500, RATES.get(name, 3e-3), **TINY[name])
    assert best > 0.9
    assert not dead


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TINY.keys() - {*QUICK}))
def test_a_small_form_learns_eight_images(name):
    """Through remat; and every parameter that is trained has a gradient at some time."""
    best, dead = learned(name, SIDES.get(name, 32), 1500, RATES.get(name, 3e-3), KEYS.get(name, 0), **TINY[name])
    assert best > 0.9
    assert not dead


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_eight_images_are_learned(name):
    fields = {"pscc_net": {"crop": (64, 64)}, "vit_b_16": {"decoder_channels": 256}}.get(name, {})
    best, _ = learned(name, 256 if name == "h_lstm" else 64, 400, 3e-4, **fields)
    assert best > 0.9


SMALL = {  # as deep as the originals, whose names they have, and narrow
    "fcn_resnet50": {"embed_dim": 2, "decoder_channels": 2},
    "deeplabv3_resnet50": {"embed_dim": 2, "decoder_channels": 2},
    "vit_b_16": {"embed_dim": 12, "decoder_channels": 2},
    "mvss_net": {"embed_dim": 2},
    "pscc_net": {"embed_dim": 2, "stem_dim": 2},
    "evp": {"embed_dim": 4, "decoder_channels": 2},
    "trufor": {"embed_dim": 4, "decoder_channels": 2},
}


def fresh_zeros(name):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variable_shapes(name, **SMALL.get(name, {})))


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("fcn_resnet50", "layer4.2.conv3.weight", ["backbone.layer4.2.conv3.weight"]),
        ("deeplabv3_resnet50", "backbone.bn1.weight", ["backbone.bn1.weight"]),
        ("mvss_net", "bn1.running_mean", ["model.bn1.running_mean", "noise_extractor.model.bn1.running_mean"]),
        ("trufor", "block1.0.attn.q.bias", ["backbone.block1.0.attn.q.bias", "backbone.extra_block1.0.attn.q.bias"]),
        ("trufor", "5.weight", ["dncnn.5.weight"]),  # of Noiseprint++ alone
        ("vit_b_16", "encoder.layers.encoder_layer_2.mlp.linear_2.bias", ["encoder.layers.encoder_layer_2.mlp.3.bias"]),
        ("evp", "patch_embed2.proj.weight", ["backbone.patch_embed2.proj.weight"]),
        ("pscc_net", "stage4.0.branches.3.1.conv2.weight", ["FENet.stage4.0.branches.3.1.conv2.weight"]),
    ],
)
def test_an_imagenet_backbone_takes_its_places_and_no_others(name, theirs, ours):
    fresh, config = fresh_zeros(name), COMPARED[name](**SMALL[name])
    shape = to_released(name, fresh, **SMALL[name])[ours[0]].shape
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    classifier = np.ones((1000, 512), np.float32)
    started = start_from(fresh, {theirs: array, "head.weight": classifier}, config, "file")
    assert started.taken == len(ours)
    assert started.unused == ("head.weight",)
    arrays = to_released(name, started.variables, **SMALL[name])
    changed = {entry for entry, values in arrays.items() if values.any() and not entry.startswith("sobel_")}
    assert changed == set(ours)
    assert all((arrays[entry] == array).all() for entry in ours)


def test_vgg_s_dense_layers_become_convolutions():
    assert _fits((4096, 25088), np.empty((4096, 512, 7, 7), np.float32), "fc6.weight")
    assert not _fits((25088, 4096), np.empty((4096, 512, 7, 7), np.float32), "fc6.weight")
    assert not _fits((64, 147), np.empty((64, 3, 7, 7), np.float32), "backbone.conv1.weight")


def test_a_file_of_something_else_starts_nothing():
    with pytest.raises(ValueError, match="nothing in it fits evp"):
        start_from(
            fresh_zeros("evp"), {"a.weight": np.ones((2, 2), np.float32)}, COMPARED["evp"](**SMALL["evp"]), "file"
        )
    with pytest.raises(ValueError, match="of which no other start is known"):
        start_from(fresh_zeros("rru_net"), {}, COMPARED["rru_net"](), "file")
