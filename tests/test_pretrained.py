"""What a UPerNet or a Swin Transformer trained elsewhere fills in a PIM, and what it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pimjax import init_from_upernet, to_torch
from pimjax.config import tiny_model
from pimjax.training.starting_weights import initial_variables
from pimjax.weights.card import ModelCard
from pimjax.weights.formats import write_model
from pimjax.weights.names.pim import variable_shapes
from pimjax.weights.pretrained import DECODERS, ENCODERS, initialization_table

MODEL = tiny_model()
ZEROS = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variable_shapes(MODEL))
DERIVED = ("relative_position_index", "num_batches_tracked")


def upernet(classes=150, **changes):
    """A UPerNet with the tiny model's Swin, every number different, an auxiliary head and 150 classes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, array in to_torch(jax.tree.map(np.zeros_like, ZEROS), MODEL).items():
        part, _, rest = name.partition(".")
        if part in ("backbone_swin", "decode_head"):
            shape = (classes, *array.shape[1:]) if rest.startswith("conv_seg") else array.shape
            value = array if name.endswith(DERIVED) else rng.random(shape, np.float32)
            arrays[f"{part.removesuffix('_swin')}.{rest}"] = value
    return arrays | {"auxiliary_head.conv_seg.bias": np.ones(classes, np.float32)} | changes


def test_a_upernet_fills_both_encoders_and_three_decoders():
    given = upernet()
    variables, table = init_from_upernet(ZEROS, {f"module.{name}": array for name, array in given.items()}, MODEL)
    ours = to_torch(variables, MODEL)
    for name, array in ours.items():
        part, _, rest = name.partition(".")
        source = {**dict.fromkeys(ENCODERS, "backbone"), **dict.fromkeys(DECODERS, "decode_head")}.get(part)
        if name.endswith(DERIVED):
            continue
        if source and not rest.startswith("conv_seg"):
            np.testing.assert_array_equal(array, given[f"{source}.{rest}"], err_msg=name)
        else:
            assert not array.any(), name
    fates = {(row.source, row.target): (row.taken, row.why) for row in table}
    assert fates["decode_head.conv_seg.bias", "recon_head.conv_seg.bias"] == (False, "shape [150] there, [3] here")
    assert fates["auxiliary_head.conv_seg.bias", ""] == (False, "a part that PIM does not have")
    assert "| backbone | backbone_recon |" in initialization_table(table)


def test_a_classifier_of_the_right_shape_is_taken_too():
    _, table = init_from_upernet(ZEROS, upernet(classes=2), MODEL)
    taken = {row.target for row in table if row.taken}
    assert "boundary_head.conv_seg.weight" in taken
    assert "recon_head.conv_seg.weight" not in taken


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_a_swin_transformer_fills_the_encoders(prefix):
    backbone = {
        name.removeprefix("backbone."): array for name, array in upernet().items() if name.startswith("backbone.")
    }
    swin = {name: array for name, array in backbone.items() if not name.startswith("norm")}
    swin |= {"norm.weight": np.ones(64), "head.weight": np.ones((1000, 64)), "layers.0.blocks.1.attn_mask": np.ones(3)}
    variables, table = init_from_upernet(ZEROS, {prefix + name: array for name, array in swin.items()}, MODEL)
    for encoder in ("encoder", "masked_encoder"):
        kernel = variables["params"][encoder]["stage0_block0"]["fc1"]["kernel"]
        np.testing.assert_array_equal(kernel, swin["layers.0.blocks.0.mlp.fc1.weight"].T)
    assert not variables["params"]["mask_decoder"]["classifier"]["kernel"].any()
    why = {row.source.removeprefix(prefix): row.why for row in table if not row.taken}
    assert why[""] == "keeps its value: the checkpoint gives none"
    assert why["head.weight"] == "no such parameter in this PIM"
    assert why["layers.0.blocks.1.attn_mask"] == "derived, not a weight"


def test_timm_s_order_of_stages_is_understood():
    """It begins a stage with the patch merging that the original ends the one before with."""
    merging = np.random.default_rng(0).random((16, 32), np.float32)
    names = [f"layers.{stage}.downsample.reduction.weight" for stage in (1, 3)]
    variables, table = init_from_upernet(ZEROS, {names[0]: merging, names[1]: np.ones((64, 128))}, MODEL)
    np.testing.assert_array_equal(variables["params"]["encoder"]["merge0"]["reduction"]["kernel"], merging.T)
    assert sum(row.taken for row in table) == 4


def test_position_tables_of_another_window_are_interpolated():
    """A table that is linear in the two offsets stays nearly so: window 12 to 7."""
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    y, x = np.mgrid[-11:12, -11:12] / 11
    table = (2 + 3 * y - x).reshape(-1, 1).astype(np.float32)
    variables, rows = init_from_upernet(ZEROS, {name: table, "layers.0.blocks.0.norm1.bias": np.ones(8)}, MODEL)
    got = variables["params"]["masked_encoder"]["stage0_block0"]["attention"]["relative_position_bias"]
    got = np.asarray(got).reshape(13, 13)
    # Half-pixel centers: position i of 13 lies at (i + 0.5)·23/13 − 0.5 of 23, whose middle is 11.
    at = ((np.arange(13) + 0.5) * 23 / 13 - 11.5) / 11
    # The usual cubic kernel (a = −0.75) bends a slope a little; half a position amiss would be 0.13.
    np.testing.assert_allclose(got[1:-1, 1:-1], (2 + 3 * at[:, None] - at[None])[1:-1, 1:-1], atol=0.025)
    assert {row.why for row in rows if row.source == name} == {"interpolated from 529 to 169 positions"}


def test_a_checkpoint_of_which_nothing_fits_is_an_error():
    with pytest.raises(ValueError, match=r"nothing of this checkpoint fits this PIM; its first names: conv1\.weight"):
        init_from_upernet(ZEROS, {"conv1.weight": np.ones((64, 3, 7, 7))}, MODEL)


def test_a_run_starts_from_whatever_kind_of_weights(tmp_path, capsys):
    fresh = jax.tree.map(lambda x: x + 1, ZEROS)
    np.savez(tmp_path / "upernet.npz", **upernet())
    started = initial_variables(tmp_path / "upernet.npz", fresh, MODEL)
    assert "| backbone | backbone_swin |" in capsys.readouterr().out
    assert started.keys() == fresh.keys()
    assert (started["params"]["fusion0"]["pointwise"]["kernel"] == 1).all()
    assert not (started["params"]["encoder"]["patch_embed"]["kernel"] == 1).any()

    whole = to_torch(jax.tree.map(lambda x: x + 2, ZEROS), MODEL)
    for name in ("native", "one.safetensors", "one.pth"):
        write_model(tmp_path / name, whole, ModelCard(MODEL))
        started = initial_variables(tmp_path / name, fresh, MODEL)
        assert all((leaf == 2).all() for leaf in jax.tree.leaves(started))
    capsys.readouterr()
    initial_variables(tmp_path / "native", fresh, tiny_model(raster_mask=False))
    assert "trained with config.model.raster_mask = True, this run has False" in capsys.readouterr().out
    with pytest.raises(ValueError, match="left over"):
        initial_variables(tmp_path / "native", fresh, tiny_model(boundary_decoder=False))


def test_what_was_learnt_without_traces_is_a_start_for_them(tmp_path):
    plain = dict(patch_size=8, depths=(2, 1, 1), num_heads=(1, 2, 4), spectral_stem=True)
    before, after = tiny_model(**plain), tiny_model(**plain, double_compression=True)
    zeros, fresh = (jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variable_shapes(c)) for c in (before, after))
    write_model(tmp_path / "plain", to_torch(jax.tree.map(lambda x: x + 2, zeros), before), ModelCard(before))
    started = initial_variables(tmp_path / "plain", jax.tree.map(lambda x: x + 1, fresh), after)
    stem = started["params"]["encoder"]["patch_embed"]
    assert (stem["traces"]["kernel"] == 1).all() and (stem["mix"]["kernel"] == 2).all()
    with pytest.raises(ValueError, match="left over"):
        initial_variables(tmp_path / "plain", zeros, tiny_model(**plain, global_stream=False))
