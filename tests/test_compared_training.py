"""The compared networks in `train.py`: what is refused, a short run that becomes a model, and eight images learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compared_cases import keys

from pimjax.config import Config, DataConfig, ForgeryConfig, LossConfig, PidaConfig, TrainConfig
from pimjax.config.networks import COMPARED
from pimjax.config.validate import check
from pimjax.config.values import ConfigError
from pimjax.data.donors import Donors
from pimjax.data.pipeline import validation_set
from pimjax.data.registry import load_source
from pimjax.inference.localizer import Localizer
from pimjax.models.released import variable_shapes
from pimjax.models.trained import Trained
from pimjax.normalization import normalize
from pimjax.training.loop import run
from pimjax.training.losses import Targets
from pimjax.training.step import loss_and_gradients, state_from
from pimjax.weights import to_released
from pimjax.weights.backbones import _fits, start_from

TRAINED = [name for name in COMPARED if name not in ("cat_net", "vit_b_16")]
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
    rows = run(small_run(tmp_path, "rru_net"))
    assert [row["metric"] for row in rows][:3] == ["f1", "iou", "mcc"]
    localizer = Localizer.load(tmp_path / "run")
    assert localizer.card.model.architecture == "rru_net"
    photo = load_source("installed:validation")[0]["image"][:50, :70]
    assert localizer(photo).probability.shape == (50, 70)


@pytest.mark.parametrize(
    ("name", "train", "what"),
    [
        ("cat_net", {}, "makes pixels, not JPEG files"),
        ("vit_b_16", {}, "it has no mask"),
        ("evp", {"precision": "bfloat16"}, "computed in float32"),
        ("trufor", {"remat": True}, "without remat"),
    ],
)
def test_what_is_not_trained_is_one_line(tmp_path, name, train, what):
    config = small_run(tmp_path, name)
    for key, value in train.items():
        setattr(config.train, key, value)
    with pytest.raises(ConfigError, match=what):
        check(config)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_eight_images_are_learned(name):
    """From fresh parameters, by the network's own loss and Adam, without drops: F1 over 0.9 in training mode."""
    no_drops = {"dropout_rate": 0.0, "drop_path_rate": 0.0, "score_dropout_rate": 0.0}
    fields = {key: value for key, value in no_drops.items() if hasattr(COMPARED[name](), key)}
    fields |= {"crop": (64, 64)} if name == "pscc_net" else {}
    model = Trained(COMPARED[name](**fields))
    data = DataConfig(image_size=64, resize_mode="crop", validation_images=8)
    source = load_source("installed:train")
    assert Donors((source,))
    examples = validation_set((source,), data, PIDA, 0)
    images = normalize(jnp.asarray(examples["image"]))
    targets = Targets(*(jnp.asarray(examples[key]) for key in ("mask", "boundary", "target", "full")))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3 if name != "trufor" else 3e-4))
    variables = jax.jit(model.init)(jax.random.key(0), images[:1])
    state = state_from(variables, optimizer, jax.random.key(0))

    @jax.jit
    def step(state):
        gradients, _, stats = loss_and_gradients(model, LossConfig(), state, images, targets, jax.random.key(0))
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return state.replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state, batch_stats=stats)

    @jax.jit
    def f1(state):
        given = {"params": state.params, "batch_stats": state.batch_stats}
        output, _ = model.apply(given, images, train=True, mutable=["batch_stats"])
        marked, truth = output.network.probability > 0.5, targets.full > 0
        sums = [(part.sum((1, 2))) for part in (marked & truth, marked, truth)]
        return (2 * sums[0] / (sums[1] + sums[2] + 1e-6)).mean()

    best = 0.0
    for number in range(600):
        state = step(state)
        if number % 20 == 19:
            best = max(best, float(f1(state)))
            if best > 0.9:
                break
    print(f"{name}: F1 {best:.3f} after {number + 1} steps")
    assert best > 0.9
    assert np.isfinite(best)


def fresh_zeros(name):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variable_shapes(name))


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("fcn_resnet50", "layer4.2.conv3.weight", ["backbone.layer4.2.conv3.weight"]),
        ("deeplabv3_resnet50", "backbone.bn1.weight", ["backbone.bn1.weight"]),
        ("mvss_net", "bn1.running_mean", ["model.bn1.running_mean", "noise_extractor.model.bn1.running_mean"]),
        ("trufor", "block1.0.attn.q.bias", ["backbone.block1.0.attn.q.bias", "backbone.extra_block1.0.attn.q.bias"]),
        ("evp", "patch_embed2.proj.weight", ["backbone.patch_embed2.proj.weight"]),
        ("pscc_net", "stage4.0.branches.3.1.conv2.weight", ["FENet.stage4.0.branches.3.1.conv2.weight"]),
    ],
)
def test_an_imagenet_backbone_takes_its_places_and_no_others(name, theirs, ours):
    fresh = fresh_zeros(name)
    shape = keys(name)[ours[0]]
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    classifier = np.ones((1000, 512), np.float32)
    started = start_from(fresh, {theirs: array, "head.weight": classifier}, COMPARED[name](), "file")
    assert started.taken == len(ours)
    assert started.unused == ("head.weight",)
    arrays = to_released(name, started.variables)
    changed = {entry for entry, values in arrays.items() if values.any() and not entry.startswith("sobel_")}
    assert changed == set(ours)
    assert all((arrays[entry] == array).all() for entry in ours)


def test_vgg_s_dense_layers_become_convolutions():
    assert _fits((4096, 25088), np.empty((4096, 512, 7, 7), np.float32), "fc6.weight")
    assert not _fits((25088, 4096), np.empty((4096, 512, 7, 7), np.float32), "fc6.weight")
    assert not _fits((64, 147), np.empty((64, 3, 7, 7), np.float32), "backbone.conv1.weight")


def test_a_file_of_something_else_starts_nothing():
    with pytest.raises(ValueError, match="nothing in it fits evp"):
        start_from(fresh_zeros("evp"), {"a.weight": np.ones((2, 2), np.float32)}, COMPARED["evp"](), "file")
    with pytest.raises(ValueError, match="of which no other start is known"):
        start_from(fresh_zeros("rru_net"), {}, COMPARED["rru_net"](), "file")
