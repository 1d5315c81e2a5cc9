"""What the architecture promises, whatever its weights."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pimjax import PIM, ModelConfig
from pimjax.config import tiny_model
from pimjax.models.layers import adaptive_average_pool, convolve, convolve_resized, resize_bilinear
from pimjax.models.local_stream import INNER, OUTER, central_difference, radial_difference
from pimjax.models.lwm import Gate
from pimjax.models.stems import cosine_transform, filter_patches, high_pass_init
from pimjax.models.swin import SwinBlock, WindowAttention
from pimjax.models.windows import merge_windows, roll_mask, roll_regions, split_windows
from pimjax.normalization import IMAGENET_MEAN, normalize
from pimjax.training.init_params import fresh_variables
from pimjax.weights.names.pim import variable_shapes


def count(tree) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


@functools.cache
def tiny():
    """The tiny model and its variables."""
    model = PIM(tiny_model())
    return model, fresh_variables(model, jax.random.key(0))


def attention(masked: bool, window: int = 3, blind_query: bool = False):
    """One window as a function from its tokens [N, 8] in raster order to its outputs, likewise."""
    module = WindowAttention(num_heads=2, window_size=window, masked=masked)
    x = jax.random.normal(jax.random.key(0), (window * window, 8))
    params = jax.jit(module.init)(jax.random.key(1), x.reshape(1, window, window, 8))["params"]
    if blind_query:
        params["qkv"]["kernel"] = params["qkv"]["kernel"].at[:, :8].set(0)
    return (lambda x: module.apply({"params": params}, x.reshape(1, window, window, 8)).reshape(x.shape)), x, params


def dependence(attend, x):
    """[output token, input token]: summed absolute Jacobian."""
    return np.abs(jax.jit(jax.jacobian(attend))(x)).sum((1, 3))


def test_masked_attention_is_causal():
    """What token i sees (keys and values) has exactly zero gradient with respect to tokens ≥ i, itself included.

    A token still asks: its query comes from itself and decides where among its predecessors it looks. The query is
    made blind here, so that only what it sees remains.
    """
    attend, x, _ = attention(masked=True, blind_query=True)
    seen = dependence(attend, x)
    i, j = np.indices(seen.shape)
    assert (seen[j >= i] == 0).all()
    assert (seen[j < i] > 0).all()


def test_masked_attention_with_its_query_never_sees_the_future():
    attend, x, _ = attention(masked=True)
    seen = dependence(attend, x)
    i, j = np.indices(seen.shape)
    assert (seen[j > i] == 0).all()
    assert (seen[j < i] > 0).all()


def test_plain_attention_sees_the_whole_window():
    attend, x, _ = attention(masked=False)
    assert (dependence(attend, x) > 0).all()


def test_first_token_of_a_window_attends_to_nothing():
    attend, x, params = attention(masked=True)
    np.testing.assert_array_equal(attend(x)[0], params["proj"]["bias"])


def test_causality_survives_the_roll_mask():
    """A region mask of −100 must not let the future shine through its −1e4."""
    module = WindowAttention(num_heads=1, window_size=3, masked=True, shift=1)
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 4))
    variables = jax.jit(module.init)(jax.random.key(1), x)
    jacobian = np.abs(jax.jit(jax.jacobian(lambda x: module.apply(variables, x)))(x)).sum((0, 3, 4, 7)).reshape(36, 36)
    # Where the roll by one pixel up and left takes the tokens: their window, and their place in it.
    y, x = (np.indices((6, 6)).reshape(2, 36) - 1) % 6
    window, place = y // 3 * 2 + x // 3, y % 3 * 3 + x % 3
    apart = window[:, None] != window[None]
    future = place[None] > place[:, None]
    assert (jacobian[apart | future] == 0).all()
    assert (jacobian[place == 0] == 0).all()
    # What the roll left together is seen.
    assert (jacobian[(window == 0) & (place == 4)][0, (window == 0) & (place < 4)] > 0).all()


def test_padded_tokens_are_the_bias_alone():
    """A map that fills no window attends also to the padding, whose keys and values are the projection's bias."""
    module = WindowAttention(num_heads=1, window_size=2, masked=False)
    x = jax.random.normal(jax.random.key(0), (1, 1, 1, 4))
    params = jax.jit(module.init)(jax.random.key(1), x)["params"]
    params["qkv"]["bias"] = jax.random.normal(jax.random.key(2), (12,))
    q, k, v = jnp.split(x[0, 0] @ params["qkv"]["kernel"] + params["qkv"]["bias"], 3, axis=-1)
    _, padded_k, padded_v = jnp.split(params["qkv"]["bias"], 3)
    keys, values = (jnp.stack([a[0], b, b, b]) for a, b in ((k, padded_k), (v, padded_v)))
    # Token (0, 0) as query; keys at (0, 0), (0, 1), (1, 0), (1, 1): rows 4, 3, 1, 0 of the 3×3 table.
    logits = keys @ q[0] / 2 + params["relative_position_bias"][np.array([4, 3, 1, 0]), 0]
    expected = jax.nn.softmax(logits) @ values @ params["proj"]["kernel"] + params["proj"]["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, x)[0, 0, 0], expected, atol=1e-5)


def test_masked_block_keeps_the_token_on_its_residual_path():
    block = SwinBlock(num_heads=1, window_size=3, shift=0, mlp_ratio=2, drop_path=0.0, masked=True)
    x = jax.random.normal(jax.random.key(0), (1, 3, 3, 4))
    variables = jax.jit(block.init, static_argnums=2)(jax.random.key(1), x, False)
    gradient = jax.jit(jax.grad(lambda x: (block.apply(variables, x, False)[0, 0, 0] ** 2).sum()))(x)
    assert jnp.abs(gradient[0, 0, 0]).max() > 0
    assert jnp.abs(gradient).sum() == jnp.abs(gradient[0, 0, 0]).sum()


def test_windows_merge_back_to_what_was_split():
    x = np.arange(2 * 6 * 9 * 5).reshape(2, 6, 9, 5)
    windows = split_windows(x, 3)
    assert windows.shape == (12, 9, 5)
    np.testing.assert_array_equal(windows[1], x[0, 0:3, 3:6].reshape(9, 5))
    np.testing.assert_array_equal(merge_windows(windows, 3, 6, 9), x)


def test_roll_mask_parts_what_the_roll_brought_together():
    mask = roll_mask(roll_regions(6, 6, 3, 1))
    assert (mask[0] == 0).all()  # the first window was in one piece before the roll
    right = mask[1].reshape(3, 3, 3, 3)
    assert (right[:, :2, :, :2] == 0).all()
    assert (right[:, :2, :, 2:] == -100).all()


@pytest.mark.parametrize("difference", [central_difference, radial_difference])
def test_difference_convolutions_are_zero_on_a_constant(difference):
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 4))
    y = difference(jnp.full((1, 9, 9, 4), 3.7), kernel)
    np.testing.assert_allclose(y[:, 2:-2, 2:-2], 0, atol=1e-5)
    assert jnp.abs(y[:, 0]).max() > 1  # at the border the zero padding is a difference


def test_central_difference_is_a_convolution_of_differences():
    x = np.random.default_rng(0).standard_normal((1, 5, 5, 2)).astype(np.float32)
    kernel = np.random.default_rng(1).standard_normal((3, 3, 2, 3)).astype(np.float32)
    around = [x[0, 2 + dy, 2 + dx] - x[0, 2, 2] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    expected = sum(d @ w for d, w in zip(around, kernel.reshape(9, 2, 3), strict=True))
    np.testing.assert_allclose(central_difference(x, jnp.asarray(kernel))[0, 2, 2], expected, atol=1e-5)


def test_radial_difference_weighs_outer_minus_inner_ring():
    x = np.random.default_rng(0).standard_normal((1, 5, 5, 2)).astype(np.float32)
    kernel = np.random.default_rng(1).standard_normal((3, 3, 2, 3)).astype(np.float32)
    taps = kernel.reshape(9, 2, 3)[1:]
    expected = sum((x[0, *outer] - x[0, *inner]) @ w for outer, inner, w in zip(OUTER, INNER, taps, strict=True))
    np.testing.assert_allclose(radial_difference(x, jnp.asarray(kernel))[0, 2, 2], expected, atol=1e-5)


def test_radial_tap_zero_is_dead():
    x = jax.random.normal(jax.random.key(0), (1, 5, 5, 2))
    gradient = jax.grad(lambda k: (radial_difference(x, k) ** 2).sum())(jnp.ones((3, 3, 2, 2)))
    assert (gradient[0, 0] == 0).all()
    assert jnp.abs(gradient.reshape(9, -1)[1:]).min() > 0


def test_gate_scales_each_map_by_a_scalar_in_its_range():
    a, b = jax.random.normal(jax.random.key(0), (2, 8, 5, 5, 3)) * 10
    variables = Gate().init(jax.random.key(1), a, b)
    for scaled, original in zip(Gate().apply(variables, a, b), (a, b), strict=True):
        ratio = scaled / original
        np.testing.assert_allclose(ratio.max((1, 2, 3)), ratio.min((1, 2, 3)), rtol=1e-4)
        assert (ratio >= 0.5 - 1e-6).all()
        assert (ratio <= 1).all()


@pytest.mark.parametrize(("n", "bins"), [(7, 3), (2, 6), (5, 1), (6, 6)])
def test_adaptive_pooling_bins(n, bins):
    x = np.random.default_rng(0).standard_normal((1, n, n, 1)).astype(np.float32)
    pooled = adaptive_average_pool(x, bins)[0, :, :, 0]
    for i in range(bins):
        for j in range(bins):
            cell = x[0, i * n // bins : -(-(i + 1) * n // bins), j * n // bins : -(-(j + 1) * n // bins), 0]
            np.testing.assert_allclose(pooled[i, j], cell.mean(), atol=1e-6)


@pytest.mark.parametrize(("size", "new"), [((4, 6), (8, 12)), ((5, 3), (18, 11)), ((1, 1), (7, 3)), ((4, 4), (4, 4))])
def test_convolution_before_enlarging_equals_convolution_after(size, new):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 5))
    expected = convolve(resize_bilinear(x, *new), kernel)
    np.testing.assert_allclose(convolve_resized(x, kernel, *new), expected, atol=1e-5)


def test_convolution_before_enlarging_takes_less_than_half_of_the_operations():
    """At the published sizes of a 512² image: maps of 64², 32² and 16² onto 128²."""

    def operations(convolution, n):
        x, kernel = jax.ShapeDtypeStruct((1, n, n, 512), float), jax.ShapeDtypeStruct((3, 3, 512, 512), float)
        return jax.jit(lambda x, kernel: convolution(x, kernel, 128, 128)).lower(x, kernel).cost_analysis()["flops"]

    plain = sum(operations(lambda x, k, h, w: convolve(resize_bilinear(x, h, w), k), n) for n in (64, 32, 16))
    assert sum(operations(convolve_resized, n) for n in (64, 32, 16)) < 0.4 * plain


def test_parameter_counts_of_the_published_model():
    params = variable_shapes(ModelConfig())["params"]
    parts = {
        "encoder": 27_520_698,
        "masked_encoder": 27_520_698,
        "mask_decoder": 31_421_442,
        "boundary_decoder": 31_421_442,
        "image_decoder": 31_421_955,
    }
    for name, expected in parts.items():
        assert count(params[name]) == expected, name
    assert count([value for name, value in params.items() if name.startswith("local")]) == 15_707_528
    assert count([value for name, value in params.items() if name.startswith("fusion")]) == 1_607_048
    assert count(params) == 166_620_811


# The literals are the published count less what the ablation takes away.
ABLATIONS = {
    "raster_mask=False": (dict(raster_mask=False), 166_620_811),
    "local_stream='none'": (dict(local_stream="none"), 166_620_811 - 15_707_528),
    "local_stream='central'": (dict(local_stream="central"), 158_765_603),
    "local_stream='radial'": (dict(local_stream="radial"), 158_765_603),
    "global_stream=False": (dict(global_stream=False), 166_620_811 - 27_520_698 - 1_607_048 - 31_421_955),
    "fusion='concatenation'": (dict(fusion="concatenation"), 166_609_275),
    "fusion='addition'": (dict(fusion="addition"), 165_010_875),
    "boundary_decoder=False": (dict(boundary_decoder=False), 166_620_811 - 31_421_442),
    "image_decoder=False": (dict(image_decoder=False), 166_620_811 - 31_421_955),
    "decoder_channels=256": (dict(decoder_channels=256), 100_024_203),
    "embed_dim=48": (dict(embed_dim=48), 104_260_459),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_ablation_is_one_field(name):
    changes, expected = ABLATIONS[name]
    assert count(variable_shapes(ModelConfig(**changes))["params"]) == expected


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 5, 9, 3), (3, 33, 70, 3)])
def test_any_image_and_batch_size(shape):
    model, variables = tiny()
    out = jax.jit(model.apply)(variables, jnp.ones(shape))
    B, H, W, C = shape
    h, w = -(-H // 4), -(-W // 4)
    assert out.mask_logits.shape == out.boundary_logits.shape == (B, h, w, 2)
    assert out.reconstruction.shape == (B, h, w, 3)
    assert [x.shape[-1] for x in out.features.fused] == [8, 16, 32, 64]
    assert jnp.isfinite(out.mask_logits).all()


def test_streams_that_are_off_leave_no_trace():
    config = tiny_model(local_stream="none", global_stream=False, boundary_decoder=False)
    model = PIM(config)
    out = jax.jit(model.apply)(fresh_variables(model, jax.random.key(0)), jnp.zeros((1, 32, 32, 3)))
    assert out.boundary_logits is None
    assert out.reconstruction is None
    assert out.features.global_ == ()
    for fused, local, swin in zip(out.features.fused, out.features.local, out.features.swin, strict=True):
        np.testing.assert_array_equal(fused, swin)
        np.testing.assert_array_equal(local, swin)


def test_stochastic_depth_drops_branches_of_whole_samples():
    block = SwinBlock(num_heads=1, window_size=2, shift=0, mlp_ratio=1, drop_path=0.5, masked=False)
    one = jax.random.normal(jax.random.key(2), (1, 2, 2, 4))
    x = jnp.repeat(one, 400, axis=0)
    variables = jax.jit(block.init, static_argnums=2)(jax.random.key(0), one, False)
    apply = jax.jit(functools.partial(block.apply, train=True, rngs={"dropout": jax.random.key(1)}))
    added = np.asarray(apply(variables, x) - x)
    kinds, counts = np.unique(added.round(5), axis=0, return_counts=True)
    assert len(kinds) == 4  # per sample: neither branch, one, the other, both
    assert (np.abs(counts - 100) < 40).all()


def test_stochastic_depth_rises_linearly():
    seen = []

    def spy(next_call, args, kwargs, context):
        if isinstance(context.module, SwinBlock) and context.method_name == "__call__":
            seen.append(context.module.drop_path)
        return next_call(*args, **kwargs)

    import flax.linen as nn

    config = ModelConfig(embed_dim=8, num_heads=(1, 1, 1, 1), decoder_channels=8)
    with nn.intercept_methods(spy):
        jax.eval_shape(PIM(config).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    np.testing.assert_allclose(seen, [0.3 * i / 11 for i in range(12)] * 2)


def test_batch_norm_averages_with_weight_one_tenth():
    model, variables = tiny()
    x = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    train = jax.jit(
        lambda variables, x: model.apply(
            variables, x, train=True, rngs={"dropout": jax.random.key(2)}, mutable=["batch_stats"]
        )
    )
    out, updated = train(variables, x)
    # fusion0's first BatchNorm sees the gated maps; its input's mean follows from the features and the gate.
    gate = variables["params"]["fusion0"]["gate"]
    a, b = Gate().apply({"params": gate}, out.features.local[0], out.features.global_[0])
    mean = jnp.concatenate([a, b], axis=-1).mean((0, 1, 2))
    np.testing.assert_allclose(updated["batch_stats"]["fusion0"]["norm_in"]["mean"], 0.1 * mean, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 9, 3), (2, 33, 70, 3)])
def test_tokens_of_eight_pixels_give_maps_of_the_same_size(shape):
    config = tiny_model(
        patch_size=8, depths=(2, 1, 1), num_heads=(1, 2, 4), spectral_stem=True, double_compression=True
    )
    model = PIM(config)
    out = jax.jit(model.apply)(fresh_variables(model, jax.random.key(0)), jnp.ones(shape))
    B, H, W, C = shape
    assert out.mask_logits.shape == out.boundary_logits.shape == (B, -(-H // 4), -(-W // 4), 2)
    assert out.reconstruction.shape == (B, -(-H // 4), -(-W // 4), 3)
    assert [x.shape[1:] for x in out.features.fused] == [(-(-H // s), -(-W // s), s) for s in (8, 16, 32)]


def test_the_spectral_stem_s_filters_are_the_cosine_transform_in_gray_levels():
    gray = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.float32)
    image = normalize(np.repeat(gray[..., None], 3, -1).astype(np.uint8))
    y = np.asarray(filter_patches(jnp.asarray(image[None]), cosine_transform()))[0, 0, 0]
    mean = 8 * 255 * (IMAGENET_MEAN @ (0.299, 0.587, 0.114))  # which normalization took away
    expected = cv2.dct(gray)
    assert y[0] == pytest.approx(expected[0, 0] - mean, abs=0.05)
    assert y[1] == pytest.approx(expected[0, 1], abs=1e-2) and y[2] == pytest.approx(expected[1, 0], abs=1e-2)
    np.testing.assert_allclose(np.sort(y[1:64]), np.sort(expected.ravel()[1:]), atol=1e-2)
    np.testing.assert_allclose(y[66:], 0, atol=0.5)  # chroma of a gray picture


def test_high_pass_filters_are_blind_to_constants_and_slopes():
    filters = high_pass_init(jax.random.key(0), (4, 4, 3, 8))
    y, x = np.mgrid[:4, :4]
    for content in (np.ones((4, 4)), y, x):
        np.testing.assert_allclose(np.einsum("yx,yxio->io", content, filters), 0, atol=1e-3)
    assert jnp.abs(filters).max() > 1
