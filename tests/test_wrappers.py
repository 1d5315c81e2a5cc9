"""Names that a wrapper changed: the wrapper's part is taken off, or the error's first line names it."""

import jax
import numpy as np
import pytest

from pimjax import from_torch, init_from_upernet, to_torch
from pimjax.cli import main
from pimjax.config import tiny_model
from pimjax.models.released import variable_shapes as compared_shapes
from pimjax.training.starting_weights import initial_variables
from pimjax.weights import from_released, to_released
from pimjax.weights.names.pim import variable_shapes
from pimjax.weights.torch_file import write_torch

MODEL = tiny_model(depths=(1, 1), num_heads=(1, 2), pool_scales=(1, 2))
ZEROS = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variable_shapes(MODEL))
STATE = {
    name: array if array.dtype == np.int64 or name.endswith("index") else array + 2
    for name, array in to_torch(ZEROS, MODEL).items()
}
N = len(STATE)
KNOWN = (
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "network.",
    "module._orig_mod.",
    "state_dict.model.",
    "encoder.net.",
)


def under(prefix, arrays=STATE):
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def first_line(error):
    return str(error.value).partition("\n")[0]


def all_twos(variables):
    return all((np.asarray(leaf) == 2).all() for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("prefix", KNOWN)
def test_known_wrappers_of_all_names_are_taken_off(prefix, tmp_path):
    variables = from_torch(under(prefix), MODEL)
    assert all_twos({name: variables[name] for name in ("params", "batch_stats")})
    write_torch(tmp_path / "x.pth", under(prefix), "")
    assert all_twos(initial_variables(tmp_path / "x.pth", ZEROS, MODEL))
    upernet = {f"backbone.{k.partition('.')[2]}": a for k, a in STATE.items() if k.startswith("backbone_swin.")}
    filled = init_from_upernet(ZEROS, under(prefix, upernet), MODEL).variables
    assert all_twos(filled["params"]["encoder"])
    swin = {name.removeprefix("backbone."): array for name, array in upernet.items()}
    assert all_twos(init_from_upernet(ZEROS, under(prefix, swin), MODEL).variables["params"]["masked_encoder"])


def test_wrappers_of_parts_are_taken_off():
    """A network of which the encoder alone was compiled, in DistributedDataParallel."""
    names = {name: name.replace("backbone_swin.", "backbone_swin._orig_mod.") for name in STATE}
    variables = from_torch({f"module.{names[name]}": array for name, array in STATE.items()}, MODEL)
    assert all_twos({name: variables[name] for name in ("params", "batch_stats")})


def test_the_case_of_names_that_torch_compile_began(tmp_path, capsys):
    """A01: a checkpoint that does not fit says what was taken off, in the first line."""
    some = {name: STATE[name] for name in ("decode_head.conv_seg.bias", "decode_head.conv_seg.weight")}
    write_torch(tmp_path / "x.pth", under("_orig_mod.", some), "")
    assert main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "y.pth")]) == 1
    line = capsys.readouterr().err.partition("\n")[0]
    assert "x.pth: not the weights" in line
    assert "all 2 names begin with '_orig_mod.', which was taken off" in line


@pytest.mark.parametrize("prefix", ["foo.", "detector.student.", "model.foo."])
def test_another_prefix_is_named_and_no_name_is_listed(prefix, tmp_path):
    with pytest.raises(ValueError, match="take it off") as error:
        from_torch(under(prefix), MODEL)
    assert str(error.value).startswith(f"these arrays: all {N} names begin with '{prefix}'; take it off, or ")
    write_torch(tmp_path / "x.pth", under(prefix), "")
    with pytest.raises(ValueError, match=rf"x\.pth: all {N} names begin with '{prefix}'"):
        initial_variables(tmp_path / "x.pth", ZEROS, MODEL)
    upernet = {f"backbone.{k.partition('.')[2]}": a for k, a in STATE.items() if k.startswith("backbone_swin.")}
    with pytest.raises(ValueError, match=rf"all {len(upernet)} names begin with '{prefix}'"):
        init_from_upernet(ZEROS, under(prefix, upernet), MODEL)


def test_what_lies_beside_a_wrapped_model_is_told_apart():
    """Lightning's file with a loss that has weights."""
    with pytest.raises(ValueError, match=rf"{N} of {N + 1} names begin with 'model\.'; save these alone") as error:
        from_torch(under("model.") | {"loss.weight": np.ones(2)}, MODEL)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="not the weights") as error:  # that fits nothing
        from_torch({"foo.a": np.ones(1), "foo.b": np.ones(1)}, MODEL)
    assert "all 2 names begin with 'foo.'" in first_line(error)


@pytest.mark.parametrize("ours", ["model.", "", "module.net."])
def test_an_average_beside_the_model_is_no_guess(ours, tmp_path):
    both = under("ema_model.") | under(ours)
    with pytest.raises(ValueError, match="several copies of the model, under 'ema_model") as error:
        from_torch(both, MODEL)
    assert f"({N} names)" in first_line(error) and "save one of them alone" in first_line(error)


def test_a_name_with_and_without_a_wrapper_is_refused():
    name = "backbone_swin.norm0.weight"
    for wrapper in ("module", "_orig_mod"):
        with pytest.raises(ValueError, match=rf"given with and without '{wrapper}\.': {name}"):
            from_torch(STATE | {f"{wrapper}.{name}": STATE[name]}, MODEL)
    with pytest.raises(ValueError, match="with and without"):
        init_from_upernet(ZEROS, {"layers.0.x": np.ones(1), "module.layers.0.x": np.ones(1)}, MODEL)


def test_a_baseline_s_own_names_are_kept():
    """Most of these begin with "encoder.", which is no wrapper there."""
    fields = {"embed_dim": 8, "depths": (1,), "num_heads": 1}
    shapes = compared_shapes("vit_b_16", **fields)
    arrays = to_released("vit_b_16", jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes), **fields)
    for prefix in ("", "module.", "model."):
        again = to_released("vit_b_16", from_released("vit_b_16", under(prefix, arrays), **fields), **fields)
        assert again.keys() == arrays.keys()
