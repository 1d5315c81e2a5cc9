"""Damaged weights, and weights that compute nothing, are noticed wherever they are read, in one line."""

import dataclasses
import random

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy

from pimjax import Localizer, from_torch, init_from_upernet, to_torch
from pimjax.aliases import PARAMETERS, inverse, renamed_tree
from pimjax.cli import main
from pimjax.config import Config, tiny_model
from pimjax.training.starting_weights import initial_variables
from pimjax.weights.card import ModelCard
from pimjax.weights.formats import read_arrays, write_model
from pimjax.weights.load import load_model
from pimjax.weights.names.pim import from_arrays, variable_shapes
from pimjax.weights.runs import CHECKSUMS, ITEMS, add_checksums, load_variables, open_manager
from pimjax.weights.unpickle import WeightsFileError

MODEL = tiny_model()
FORMATS = ("native", "one.safetensors", "one.pth")
NAME = "decode_head.conv_seg.bias"


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return to_torch(jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), variable_shapes(MODEL)), MODEL)


def variables_of(arrays):
    variables = from_torch(arrays, MODEL)
    return {name: variables[name] for name in ("params", "batch_stats")}


def write_run(folder, arrays):
    """A run's directory with one checkpoint, as a run writes it."""
    variables = from_arrays(arrays, MODEL)
    variables = {name: variables[name] for name in ("params", "batch_stats")}
    items = ocp.args.Composite(
        variables=ocp.args.StandardSave(renamed_tree(variables, inverse(PARAMETERS))),
        optimizer=ocp.args.StandardSave({"step": np.int32(3)}),
        config=ocp.args.JsonSave(dataclasses.asdict(Config(model=MODEL))),
        progress=ocp.args.JsonSave({"validations": []}),
    )
    with open_manager(folder) as manager:
        manager.save(3, args=items, metrics={"f1": 0.5})
        manager.wait_until_finished()
    add_checksums(folder / "checkpoints/step_3", ITEMS)


def flip(path, rng, least=2000):
    """Flips one bit of a file, or of one below a directory, larger files more often; returns how to undo it."""
    files = [p for p in path.rglob("*") if p.is_file() and p.stat().st_size > least] if path.is_dir() else [path]
    file = rng.choices(files, [p.stat().st_size for p in files])[0]
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    file.write_bytes(damaged)
    return lambda: file.write_bytes(whole)


def assert_noticed_or_harmless(path, arrays, times, seed):
    """Flips bits of a model one by one. Returns how many were noticed."""
    rng, noticed = random.Random(seed), 0
    for _ in range(times):
        undo = flip(path, rng)
        try:
            read = read_arrays(path)
        except WeightsFileError as error:
            noticed += 1
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert read.keys() == arrays.keys()
            assert all(np.array_equal(read[name], array) for name, array in arrays.items())
        undo()
    read_arrays(path)
    return noticed


@pytest.mark.parametrize("target", FORMATS)
def test_a_flipped_bit_is_noticed_in_every_format(target, arrays, tmp_path):
    write_model(tmp_path / target, arrays, ModelCard(MODEL))
    times = 40 if target == "native" else 120
    assert assert_noticed_or_harmless(tmp_path / target, arrays, times, seed=0) > 0.9 * times


def test_a_flipped_bit_in_the_native_directory_s_data_is_always_noticed(arrays, tmp_path, capsys):
    """Case B26: 29 of 30 were read as other numbers."""
    write_model(tmp_path / "native", arrays, ModelCard(MODEL))
    for seed in range(30):
        undo = flip(tmp_path / "native" / "weights", random.Random(seed), least=100)
        with pytest.raises(
            WeightsFileError, match=r"native: damaged, or changed .*: weights/\w+/\S+ lacks its checksum"
        ):
            load_model(tmp_path / "native")
        undo()
    flip(tmp_path / "native" / "weights", random.Random(0))
    assert main(["convert", str(tmp_path / "native"), str(tmp_path / "out.safetensors")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()


def test_a_number_that_changed_in_a_card_is_noticed(arrays, tmp_path):
    write_model(tmp_path / "native", arrays, ModelCard(MODEL))
    card = tmp_path / "native" / "model.json"
    text = card.read_text()
    for old, new in (
        ('"raster_mask": true', '"raster_mask": false'),
        ('"window_size": 7', '"window_size": 5'),
        ("{}", '{"a": 1}'),
    ):
        assert old in text
        card.write_text(text.replace(old, new))
        with pytest.raises(WeightsFileError, match=r"native: its model card cannot be used \(damaged, or changed"):
            read_arrays(tmp_path / "native")
    card.write_text(text.replace("\n", "\r\n"))  # says the same
    read_arrays(tmp_path / "native")


def test_a_flipped_bit_in_a_run_s_checkpoint_is_noticed(arrays, tmp_path, capsys):
    write_run(tmp_path / "run", arrays)
    step = tmp_path / "run/checkpoints/step_3"
    jax.tree.map(np.testing.assert_array_equal, load_variables(tmp_path / "run")[0], variables_of(arrays))
    for seed in range(20):
        undo = flip(step / ITEMS[seed % 4], random.Random(seed), least=0)
        with pytest.raises(WeightsFileError, match=r"step_3: damaged, or changed .* lacks its checksum .*; remove "):
            load_variables(tmp_path / "run")
        undo()
    for text in ("{", "[" * 100_000, "[]", '{"variables/none": "0"}'):
        (step / CHECKSUMS).write_text(text)
        with pytest.raises(WeightsFileError, match=r"step_3.* damaged"):
            load_variables(tmp_path / "run")
    (step / CHECKSUMS).unlink()  # of an older pimjax
    load_variables(tmp_path / "run")
    for file in (step / "variables").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "out.pth")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def spoilt(arrays, name, value):
    changed = arrays[name].astype(np.result_type(value, np.float32))
    changed.flat[-1] = value
    return arrays | {name: changed}


FAULTS = {
    "nan": (NAME, np.float32(np.nan), r"1 of 2 values that are not finite"),
    "inf": (NAME, np.float32(np.inf), r"1 of 2 values that are not finite"),
    "large": (NAME, np.float64(1e39), r"1 of 2 values that are too large for float32"),
    "variance": ("decode_head.bottleneck.bn.running_var", np.float32(-1), r"1 of \d+ variances below 0"),
}


FILES = ("one.safetensors", "one.npz", "one.pth", "foreign.safetensors")
CASES = [(file, fault) for file in FILES for fault in FAULTS]
CASES += [(file, fault) for file in ("native", "run") for fault in FAULTS if fault != "large"]  # of float32 alone


@pytest.mark.parametrize(("file", "fault"), CASES)
def test_no_reader_takes_numbers_that_compute_nothing(file, fault, arrays, tmp_path, capsys):
    name, value, message = FAULTS[fault]
    bad, path = spoilt(arrays, name, value), tmp_path / file
    if file == "one.npz":
        np.savez(path, **bad)
    elif file == "foreign.safetensors":
        safetensors.numpy.save_file({k: np.asarray(a, order="C") for k, a in bad.items()}, path)
    elif file == "run":
        write_run(path, bad)
    else:
        with np.errstate(over="ignore"):
            write_model(path, bad, ModelCard(MODEL))
    fresh = variables_of(arrays)
    readers = [load_model, Localizer.load, lambda path: initial_variables(path, fresh, MODEL)]
    if file != "run":
        readers += [lambda path: from_torch(path, MODEL), lambda path: init_from_upernet(fresh, path, MODEL)]
    for read in readers:
        with pytest.raises(WeightsFileError, match=rf"{file}: cannot be used: {name} has {message}"):
            read(path)
    assert main(["convert", str(path), str(tmp_path / "out.pth")]) == 1
    error = capsys.readouterr().err
    assert f"{name} has" in error and error.count("\n") == 1
    assert not (tmp_path / "out.pth").exists()


def test_arrays_in_memory_are_checked_too(arrays):
    for fault in ("nan", "inf", "large"):
        name, value, message = FAULTS[fault]
        with pytest.raises(WeightsFileError, match=rf"these arrays: cannot be used: {name} has {message}"):
            from_torch(spoilt(arrays, name, value), MODEL)
        with pytest.raises(WeightsFileError, match=message):
            init_from_upernet(variables_of(arrays), spoilt(arrays, name, value), MODEL)
    masks = {"backbone_swin.attn_mask": np.array([-np.inf, 0], np.float32)}  # no weight, and what PyTorch puts there
    with pytest.raises(ValueError, match="1 left over"):
        from_torch(arrays | masks, MODEL)
    with pytest.raises(WeightsFileError, match=r"\(2 arrays are like that\)"):
        from_torch(spoilt(spoilt(arrays, NAME, np.nan), "boundary_head.conv_seg.bias", np.inf), MODEL)


def test_large_sums_are_no_infinities(arrays):
    """Values whose sum overflows."""
    large = arrays | {NAME: np.full(2, 3e38, np.float32)}
    assert (to_torch(from_torch(large, MODEL), MODEL)[NAME] == np.float32(3e38)).all()


def test_the_shipped_model_has_checksums(tmp_path):
    from pimjax.weights.bundled import weights_path

    whole = weights_path("pim-small").read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 64
    (tmp_path / "copy.safetensors").write_bytes(damaged)
    with pytest.raises(WeightsFileError, match=r"copy\.safetensors: damaged.* lacks its checksum"):
        load_model(tmp_path / "copy.safetensors")
