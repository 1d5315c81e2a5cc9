"""Weights by the released model's names: a strict match both ways, and back again."""

import jax
import numpy as np
import pytest

from pimjax import from_torch, to_torch
from pimjax.config import tiny_model
from pimjax.weights.names.pim import variable_shapes

CONFIG = tiny_model()


@pytest.fixture
def state():
    """A state dict of the tiny model, every array different."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes(CONFIG)
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, dtype=np.float32), shapes)
    arrays = to_torch(variables, CONFIG)
    for i, name in enumerate(sorted(name for name in arrays if name.endswith("num_batches_tracked"))):
        arrays[name] = np.asarray(i, np.int64)
    return arrays


def test_to_torch_is_the_inverse_of_from_torch(state):
    again = to_torch(from_torch(state, CONFIG), CONFIG)
    assert again.keys() == state.keys()
    for name, array in state.items():
        assert again[name].dtype == array.dtype, name
        np.testing.assert_array_equal(again[name], array, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        dict(fusion="addition"),
        dict(local_stream="central"),
        dict(global_stream=False),
        dict(boundary_decoder=False),
        dict(patch_size=8, depths=(2, 1, 1), num_heads=(1, 2, 4), spectral_stem=True, double_compression=True),
    ],
)
def test_ablated_models_round_trip_too(changes):
    config = tiny_model(**changes)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variable_shapes(config))
    arrays = to_torch(zeros, config)
    assert to_torch(from_torch(arrays, config), config).keys() == arrays.keys()


def test_a_leading_module_is_accepted(state):
    wrapped = {f"module.{name}": array for name, array in state.items()}
    a, b = from_torch(wrapped, CONFIG), from_torch(state, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_missing_and_left_over_names_are_listed(state):
    state["decode_head.conv_seg.surplus"] = state.pop("decode_head.conv_seg.weight")
    state["extra"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"1 missing: decode_head\.conv_seg\.weight\n.*2 left over: .*surplus, extra"):
        from_torch(state, CONFIG)


def test_an_array_of_another_shape_is_named(state):
    state["backbone_swin.norm0.weight"] = np.zeros(5)
    with pytest.raises(ValueError, match=r"1 wrong shape or content: backbone_swin\.norm0\.weight \[5\]"):
        from_torch(state, CONFIG)


def test_another_index_table_is_refused(state):
    name = "backbone_swin.layers.0.blocks.0.attn.relative_position_index"
    state[name] = state[name][::-1]
    with pytest.raises(ValueError, match="relative_position_index"):
        from_torch(state, CONFIG)


def test_a_name_with_and_without_module_is_refused(state):
    state["module.backbone_swin.norm0.weight"] = state["backbone_swin.norm0.weight"]
    with pytest.raises(ValueError, match=r"with and without 'module\.': backbone_swin\.norm0\.weight"):
        from_torch(state, CONFIG)


def test_variables_of_another_model_are_refused(state):
    variables = from_torch(state, CONFIG)
    with pytest.raises(ValueError, match="batch_stats/boundary_decoder"):
        to_torch(variables, tiny_model(boundary_decoder=False))
