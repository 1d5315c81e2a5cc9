"""The networks that train.py trains beside PIM: their configurations, names and fields, and how they are computed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pimjax.config import ComparedLossConfig, Config, LossConfig, ModelConfig, NetworkConfig
from pimjax.config.load import from_dict, read_config
from pimjax.config.networks import COMPARED, NETWORKS, TRUFOR_PARTS, TruForConfig, UNetConfig, ViTB16Config
from pimjax.config.validate import check, check_model
from pimjax.models import torch_layers
from pimjax.models.factory import create_model
from pimjax.models.layers import Execution, convolve
from pimjax.models.released import variable_shapes as compared_shapes
from pimjax.models.torch_layers import attend
from pimjax.models.trained import Trained
from pimjax.training.losses import Targets
from pimjax.training.step import loss_and_gradients, state_from
from pimjax.weights import from_released, to_released
from pimjax.weights.names.pim import variable_shapes

CONFIGS = Path(__file__).parent.parent / "configs"
# ViT-B/16's published encoder; head 1×1 and BatchNorm; classifier. Swin-T without its classifier (28,288,354 −
# 768·1000 − 1000), with LayerNorms of four stages (2·96·15) in place of one (2·768); UPerNet of 512 channels.
PARAMETERS = {
    "fcn_resnet50": 32_947_266,
    "deeplabv3_resnet50": 39_633_986,
    "unet": 31_037_698,
    "vit_b_16": 85_798_656 + 768 * 256 + 2 * 256 + (256 * 2 + 2),
    "mfcn": 134_282_570,
    "rru_net": 4_097_249,
    "mvss_net": 142_713_215,
    "pscc_net": 3_667_942,
    "cat_net": 114_263_810,
    "evp": 64_544_402,
    "trufor": 68_697_421,
    "trufor_confidence": 68_697_421,
    "mantra_net": 3_804_950,
    "span": 4_054_254,
    "hp_fcn": 7_701_077,
    "h_lstm": 2_207_652,
    "swin_upernet": 27_519_354 - 2 * 768 + 2 * 96 * 15 + 31_421_442,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_configurations_have_the_published_sizes_and_pim_s_data(name):
    file = CONFIGS / "baselines" / f"{name}.py"
    config = read_config(file)
    check(config)
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variable_shapes(config.model)["params"]))
    assert count == PARAMETERS[name]
    assert f"{count:,}" in file.read_text(encoding="utf-8")
    assert (config.data.train, config.data.validation) == (("tfds:casia_v2",), ("tfds:defacto:validation",))
    assert config.workdir == f"runs/{name}"


def test_every_network_that_is_trained_has_a_configuration():
    assert {path.stem for path in (CONFIGS / "baselines").glob("*.py")} == PARAMETERS.keys()
    assert COMPARED.keys() <= PARAMETERS.keys()
    assert {"pim", "swin", *COMPARED} == set(NETWORKS)


def test_what_a_network_has_not_is_refused():
    with pytest.raises(ValueError, match=r"config\.model\.raster_mask: no such key; there are embed_dim"):
        UNetConfig().raster_mask = False
    with pytest.raises(ValueError, match=r"config\.model\.depths is \(2, 2\); it must have 1 to 1 items"):
        ViTB16Config(depths=(2, 2))
    with pytest.raises(ValueError, match="5, which 2 heads cannot share evenly"):
        check_model(ViTB16Config(embed_dim=5, num_heads=2))
    with pytest.raises(ValueError, match="'segnet': no such network; there are pim, swin, fcn"):
        create_model("segnet")
    with pytest.raises(ValueError, match=r"config\.model\.raster_mask: no such key"):
        create_model("unet", raster_mask=False)
    with pytest.raises(ValueError, match="it knows dtype and remat alone"):
        create_model("unet", Execution(bn_axis="data"))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"loss": LossConfig(mask=2.0)}, r"config\.loss is PIM's; weigh a compared network's terms by"),
        ({"compared_loss": ComparedLossConfig(edge=0.5)}, r"compared_loss\.edge: unet has no such term; it has mask"),
        ({"compared_loss": ComparedLossConfig(mask=0)}, "all terms of unet are switched off"),
    ],
)
def test_terms_that_a_loss_has_not_are_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        check(Config(model=UNetConfig(), **changes))


def test_the_terms_of_trufor_are_those_of_the_parts_that_learn():
    phase_2, phase_3 = (read_config(CONFIGS / f"baselines/{name}.py") for name in ("trufor", "trufor_confidence"))
    for config, term in ((phase_2, "image"), (phase_3, "dice")):
        setattr(config.compared_loss, term, 0.5)
        with pytest.raises(ValueError, match=rf"compared_loss\.{term}: trufor has no such term"):
            check(config)
    check(Config(model=TruForConfig(frozen=()), compared_loss=ComparedLossConfig(image=0.5, dice=0.5)))
    with pytest.raises(ValueError, match="all terms of trufor are switched off"):
        check(Config(model=TruForConfig(frozen=TRUFOR_PARTS)))


def test_a_model_has_a_name_and_fields():
    assert create_model("vit_b_16", embed_dim=24).embed_dim == 24
    assert create_model("pim") == create_model(ModelConfig())


def test_pim_and_swin_have_their_released_names_too():
    small = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "decoder_channels": 8, "pool_scales": (1,)}
    for name, parts in (("pim", 5), ("swin", 2)):
        config = NETWORKS[name](**small)
        shapes = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), variable_shapes(config))
        arrays = to_released(name, shapes, **small)
        assert len({entry.partition(".")[0] for entry in arrays if not entry.startswith(("local", "feature"))}) == parts
        again = from_released(name, arrays, **small)
        assert jax.tree.structure({key: again[key] for key in shapes}) == jax.tree.structure(shapes)
        with pytest.raises(ValueError, match="1 left over: more"):
            from_released(name, arrays | {"more": np.ones(1)}, **small)
    out = create_model("swin", **small).apply(shapes, jnp.zeros((1, 32, 32, 3)))
    assert out.boundary_logits is out.reconstruction is None and out.mask_logits.shape == (1, 8, 8, 2)


@pytest.mark.parametrize(("name", "now"), [("fcn", "fcn_resnet50"), ("vit", "vit_b_16"), ("unet", "unet")])
def test_a_variant_of_an_older_pimjax_is_named_with_what_took_its_place(name, now):
    """It had one section for all networks, with every field of PIM's."""
    old = vars(ModelConfig()) | {"architecture": name, "embed_dim": 8}
    with pytest.raises(ValueError, match=rf"{name} is a network of pimjax 0\.1, which alone reads it; train {now}$"):
        from_dict(NetworkConfig, old)
    with pytest.raises(ValueError, match="'resunet': no network of this pimjax, which has pim, swin, fcn_resnet50"):
        from_dict(NetworkConfig, {"architecture": "resunet"})


@pytest.mark.parametrize(("k", "stride", "dilation"), [(1, 2, 1), (3, 2, 1), (3, 1, 4), (7, 2, 1)])
def test_strided_and_dilated_convolutions_are_samples_and_gaps_of_plain_ones(k, stride, dilation):
    x = jax.random.normal(jax.random.key(0), (1, 9, 12, 2))
    kernel = jax.random.normal(jax.random.key(1), (k, k, 2, 3))
    spread = dilation * (k - 1) + 1
    with_gaps = jnp.zeros((spread, spread, 2, 3)).at[::dilation, ::dilation].set(kernel)
    plain = convolve(x, with_gaps)[:, ::stride, ::stride]
    np.testing.assert_allclose(convolve(x, kernel, stride, dilation), plain, atol=1e-4)


@pytest.fixture(scope="module")
def small():
    """A small FCN's variables, as if it had been trained, images and what they should be found to be."""
    fields = {"embed_dim": 8, "depths": (1, 1, 1, 1), "decoder_channels": 8}
    rng = np.random.default_rng(0)

    def leaf(path, shape):
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, shape.shape).astype(np.float32)
        fan_in = np.float32(max(np.prod(shape.shape[:-1]), 16))
        return rng.standard_normal(shape.shape, np.float32) / np.sqrt(fan_in)

    variables = jax.tree_util.tree_map_with_path(leaf, compared_shapes("fcn_resnet50", **fields))
    images = jax.random.normal(jax.random.key(2), (2, 32, 48, 3))
    full = (jnp.arange(48) < 20)[None, None].repeat(32, 1).repeat(2, 0).astype(jnp.uint8)
    targets = Targets(full[:, ::4, ::4], full[:, ::4, ::4], images[:, ::4, ::4], full)
    return COMPARED["fcn_resnet50"](**fields, dropout_rate=0.0), variables, images, targets


def test_half_precision_is_of_maps_and_products_alone(small):
    config, variables, images, _ = small
    plain, half = (
        jax.jit(create_model(config, Execution(dtype=dtype)).apply)(variables, images) for dtype in (None, jnp.bfloat16)
    )
    assert half.logits.dtype == half.probability.dtype == jnp.float32
    difference = np.abs(half.logits - plain.logits).mean() / np.std(plain.logits)
    assert 1e-4 < difference < 0.1


@pytest.mark.parametrize(
    ("name", "fields", "share"),
    [
        ("fcn_resnet50", {"embed_dim": 8, "depths": (1, 1, 1, 1), "decoder_channels": 8}, 0.7),
        ("unet", {"embed_dim": 4}, 0.8),
        ("rru_net", {"embed_dim": 8}, 0.6),
        ("pscc_net", {"embed_dim": 4, "stem_dim": 8, "crop": (32, 32)}, 0.8),
        ("evp", {"embed_dim": 8, "depths": (2, 2, 2, 2), "decoder_channels": 8}, 0.7),
        ("vit_b_16", {"embed_dim": 8, "depths": (4,), "num_heads": 2, "decoder_channels": 8}, 0.7),
    ],
)
def test_rematerialization_keeps_less(name, fields, share):
    """What the backward pass is handed, in bytes, without the parameters. (XLA's CPU backend may merge the work.)"""
    shapes, images = compared_shapes(name, **fields), jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)

    def kept(remat):
        apply = create_model(name, Execution(remat=remat), **fields).apply

        def backward(params, images):
            given = {"params": params, "batch_stats": shapes["batch_stats"]}
            given = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), given)
            forward = lambda params: apply({**given, "params": params}, images).probability  # noqa: E731
            return jax.vjp(forward, params)[1]

        def size(tree):
            return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

        return size(jax.eval_shape(backward, shapes["params"], images)) - size(shapes["params"])

    assert kept(True) < share * kept(False)


def test_rematerialization_changes_no_gradient(small):
    config, variables, images, targets = small
    state = state_from(variables, optax.sgd(0.1), jax.random.key(0))

    def gradients(remat):
        model = Trained(config, Execution(remat=remat))
        step = lambda state: loss_and_gradients(  # noqa: E731
            model, ComparedLossConfig(), state, images, targets, jax.random.key(3)
        )
        return jax.jit(step)(state)

    (plain, terms, _), (again, _, _) = gradients(False), gradients(True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), plain, again)
    assert terms.keys() == {"total", "mask"}


def test_attention_head_by_head_is_attention(monkeypatch):
    q, k, v = (jax.random.normal(jax.random.key(i), (2, 5 + 2 * (i > 0), 12)) for i in range(3))

    def outcome():
        # A function of its own each time: what was traced before would be taken again.
        return jax.jit(jax.value_and_grad(lambda q, k, v: jnp.sin(attend(q, k, v, 3)).sum(), (0, 1, 2)))(q, k, v)

    plain = outcome()
    monkeypatch.setattr(torch_layers, "MANY", 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), outcome(), plain)
    with monkeypatch.context() as patch:
        patch.setattr(torch_layers, "MANY", 0)
        assert "while" in jax.jit(lambda q, k, v: attend(q, k, v, 3)).lower(q, k, v).as_text()
