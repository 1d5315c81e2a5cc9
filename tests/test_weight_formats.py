"""Models on disk: every format keeps every number and the card, and appears whole or not at all."""

import dataclasses
import itertools
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import reference_weights
import safetensors.numpy
from safetensors import SafetensorError

from pimjax import PIM, Localizer, ModelConfig, from_torch, to_torch
from pimjax.cli import main
from pimjax.config import Config, DataConfig, tiny_model
from pimjax.files import RECORD
from pimjax.weights.card import card_of_run
from pimjax.weights.convert import convert
from pimjax.weights.formats import read_arrays, read_stored, write_model
from pimjax.weights.load import read_model
from pimjax.weights.names.pim import variable_shapes
from pimjax.weights.torch_file import write_torch

MODEL = tiny_model(depths=(1, 1), num_heads=(1, 2), pool_scales=(1, 2), fusion="addition")
CARD = dataclasses.replace(
    card_of_run(Config(model=MODEL, data=DataConfig(image_size=64, resize_mode="crop"))),
    provenance={"source": "a test"},
)
TARGETS = ("native", "one.safetensors", "one.pth")


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), variable_shapes(MODEL))
    arrays = to_torch(variables, MODEL)
    for i, name in enumerate(name for name in arrays if name.endswith("num_batches_tracked")):
        arrays[name] = np.asarray(2**40 + i, np.int64)
    return arrays


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != RECORD)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
def test_a_format_keeps_every_number_and_the_card(target, arrays, tmp_path):
    write_model(tmp_path / target, arrays, CARD)
    assert names_in(tmp_path) == [target]
    (tmp_path / "any").touch() if "." in target else (tmp_path / "any").mkdir()
    assert (tmp_path / target).stat().st_mode == (tmp_path / "any").stat().st_mode  # for whom other files are
    stored = read_stored(tmp_path / target)
    assert_equal(stored.arrays, arrays)
    assert stored.card == CARD
    assert_equal(to_torch(from_torch(tmp_path / target), MODEL), arrays)


def test_conversions_in_a_circle_lead_back(arrays, tmp_path, capsys):
    write_model(tmp_path / "start.pth", {f"module.{name}": array for name, array in arrays.items()}, CARD)
    route = ["start.pth", "native", "one.safetensors", "again", "end.pth"]
    for source, target in itertools.pairwise(route):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
        parameters = sum(leaf.size for leaf in jax.tree.leaves(variable_shapes(MODEL)["params"]))
        assert f"{parameters:,} parameters, reads back equal" in capsys.readouterr().out
    stored = read_stored(tmp_path / "end.pth")
    assert_equal(stored.arrays, arrays)
    assert stored.card.model == MODEL
    assert stored.card.preprocessing == CARD.preprocessing
    assert stored.card.provenance["source"] == "again"
    assert len(stored.card.provenance["sha256"]) == 64
    assert stored.card.provenance["before"]["source"] == "one.safetensors"


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_is_used_without_any_configuration(target, arrays, tmp_path):
    write_model(tmp_path / target, arrays, CARD)
    localizer = Localizer.load(tmp_path / target)
    assert localizer.card.preprocessing["resize_mode"] == "crop"
    assert localizer(np.full((32, 40, 3), 99, np.uint8)).probability.shape == (32, 40)


def test_what_is_written_wrongly_is_noticed(arrays, tmp_path, monkeypatch):
    import pimjax.weights.convert as conversion

    def forgetful(path, arrays, card, check):
        write_model(path, arrays | {"decode_head.conv_seg.bias": np.zeros(2, np.float32)}, card, check)

    monkeypatch.setattr(conversion, "write_model", forgetful)
    write_model(tmp_path / "one.pth", arrays, CARD)
    older = (tmp_path / "one.pth").read_bytes()
    with pytest.raises(ValueError, match=r"one\.pth: 1 arrays read back differently, such as decode_head"):
        convert(dict(arrays), CARD, tmp_path / "one.pth")
    assert names_in(tmp_path) == ["one.pth"]
    assert (tmp_path / "one.pth").read_bytes() == older


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_left_of_a_model_that_could_not_be_written(target, arrays, tmp_path, monkeypatch):
    """Each library has its own way to say so."""
    import pimjax.weights.formats as files

    write_model(tmp_path / "one.pth", arrays, CARD)
    older = (tmp_path / "one.pth").read_bytes()

    def full(path, kind=OSError):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device") if kind is OSError else kind("I/O: No space left on device (28)")

    monkeypatch.setattr(files, "write_torch", lambda path, *rest: full(path))
    monkeypatch.setattr(files.safetensors.numpy, "save_file", lambda _, path, metadata: full(path, SafetensorError))
    monkeypatch.setattr(
        files.ocp.PyTreeCheckpointer, "save", lambda self, path, tree: full(path.parent.parent / "half", ValueError)
    )
    with pytest.raises(OSError, match=rf"{target}: cannot be written \(No space left on device\); make room"):
        write_model(tmp_path / target, arrays, CARD)
    assert names_in(tmp_path) == ["one.pth"]
    assert (tmp_path / "one.pth").read_bytes() == older


def test_what_cannot_be_written_is_refused(arrays, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="there: exists and is a directory"):
        write_model(tmp_path / "there", arrays, CARD)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: exists and is a file"):
        write_model(tmp_path / "file", arrays, CARD)
    (tmp_path / "file").unlink()
    with pytest.raises(ValueError, match=r"x\.onnx: give it the suffix \.pth or \.safetensors"):
        write_model(tmp_path / "x.onnx", arrays, CARD)
    with pytest.raises(ValueError, match="1 missing: decode_head"):
        write_model(tmp_path / "x.pth", {k: v for k, v in arrays.items() if k != "decode_head.conv_seg.bias"}, CARD)
    assert names_in(tmp_path) == ["there"]


def test_a_card_that_cannot_be_read_is_refused(arrays, tmp_path):
    write_model(tmp_path / "native", arrays, CARD)
    card = tmp_path / "native" / "model.json"
    values = json.loads(card.read_text())
    card.write_text(json.dumps(values | {"pimjax_format": 99, "something": "new"}))
    with pytest.raises(ValueError, match=r"model card is of format 99.*update pimjax"):
        read_arrays(tmp_path / "native")
    model, preprocessing = values["model"], values["preprocessing"]
    del model["high_pass_init"]  # of an older pimjax: the default
    values["pimjax_format"] = 1
    del values["checksums"]
    card.write_text(json.dumps(values))
    assert read_stored(tmp_path / "native").card == CARD
    for change in (
        {"model": model | {"widht": 3}},
        {"model": model | {"depths": [100_000, 1, 1, 1]}},
        {"model": model | {"window": 130}},
        {"model": model | {"embed_dim": "96"}},
        {"model": model | {"num_heads": [0, 1, 1, 1]}},
        {"model": model | {"pool_scales": None}},
        {"preprocessing": preprocessing | {"image_size": "abc"}},
        {"preprocessing": preprocessing | {"resize_mode": "zzz"}},
        {"preprocessing": preprocessing | {"mean": [0, 0, 0]}},
        {"classes": ["manipulated", "authentic"]},
        {"provenance": [1]},
        {"provenance": {"scores": {"authentic": ["0.5"], "manipulated": [0.5], "datasets": "x"}}},
        {"provenance": {"scores": {"authentic": [0.5, 0.1], "manipulated": [0.5], "datasets": "x"}}},
        {"provenance": {"scores": 3}},
        {"provenance": nested(500)},
        {"model": model | {"embed_dim": 10**400}},
        {"model": model | {"drop_path": float("inf")}},
        {"model": [model]},
        {"classes": 2},
        {"pimjax_format": None},
        {"pimjax_format": 2},  # without checksums
    ):
        card.write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match=r"native: its model card (cannot be used|is of format None)") as error:
            read_arrays(tmp_path / "native")
        assert "\n" not in str(error.value) and len(str(error.value)) < 700
    for text in ("[" * 100_000, '{"pimjax_format": ' + "9" * 5000 + "}", "[]", "7", ""):
        card.write_text(text)
        with pytest.raises(ValueError, match="native: its model card cannot be used"):
            read_arrays(tmp_path / "native")
    with card.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ValueError, match=r"model\.json: has over"):
        read_arrays(tmp_path / "native")


def nested(levels):
    return {"before": nested(levels - 1)} if levels else {}


@pytest.mark.parametrize("target", ["one.safetensors", "one.pth"])
def test_a_file_is_replaced_only_if_pimjax_wrote_it(target, arrays, tmp_path, capsys):
    write_model(tmp_path / "ours.pth", arrays, CARD)
    arguments = ["convert", str(tmp_path / "ours.pth"), str(tmp_path / target)]
    rng = np.random.default_rng(0)
    foreign = {"text": b"thesis", "checkpoint": (tmp_path / "ours.pth").read_bytes()[:-1], "noise": rng.bytes(999)}
    foreign["PyTorch's"] = (reference_weights.REFERENCE / "torch_zip.pth").read_bytes()
    foreign["safetensors"] = safetensors.numpy.save({"weight": np.ones(3, np.float32)})
    for kind, content in foreign.items():
        (tmp_path / target).write_bytes(content)
        assert main(arguments) == 1, kind
        error = capsys.readouterr().err
        assert f"{target}: exists and is no model that pimjax wrote" in error and "choose another name" in error, kind
        assert (tmp_path / target).read_bytes() == content, kind
    (tmp_path / target).unlink()
    (tmp_path / target).symlink_to(tmp_path / "ours.pth")
    assert main(arguments) == 1
    (tmp_path / target).unlink()
    (tmp_path / "native").mkdir()
    (tmp_path / "native/notes.txt").write_text("mine")
    assert main([*arguments[:-1], str(tmp_path / "native")]) == 1
    assert names_in(tmp_path / "native") == ["notes.txt"]
    for _ in range(2):
        assert main(arguments) == 0
    (tmp_path / RECORD).unlink()  # of an older pimjax, or carried here: the card inside says whose it is
    assert main(arguments) == 0
    assert read_stored(tmp_path / target).card.model == MODEL


def test_weights_without_a_card_take_their_configuration_from_a_file(arrays, tmp_path, capsys):
    np.savez(tmp_path / "bare.npz", **arrays)
    assert main(["convert", str(tmp_path / "bare.npz"), str(tmp_path / "x.pth")]) == 1
    assert "bare.npz: not the weights of this model configuration" in capsys.readouterr().err
    (tmp_path / "small.py").write_text(
        f"from pimjax.config import Config, ModelConfig\n\n\ndef get_config():\n    return Config(model={MODEL!r})\n"
    )
    arguments = ["convert", str(tmp_path / "bare.npz"), str(tmp_path / "x.pth"), "--config", str(tmp_path / "small.py")]
    assert main(arguments) == 0
    assert read_model(tmp_path / "x.pth")[1].model == MODEL
    assert main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "y.pth"), *arguments[-2:]]) == 1
    assert "x.pth: says itself of which configuration it is" in capsys.readouterr().err
    assert main([*arguments[:-1], str(tmp_path / "none.py")]) == 2
    assert "none.py: No such file or directory; give a file with get_config()" in capsys.readouterr().err


LIMITED = """
import resource, sys
from pimjax.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(["convert", *sys.argv[1:]]))
"""


def test_a_disk_that_takes_no_more_is_one_line(arrays, tmp_path):
    """The libraries themselves, and what their threads print after the error."""
    write_model(tmp_path / "ours.pth", arrays, CARD)
    for target in TARGETS:
        command = [sys.executable, "-c", LIMITED, str(tmp_path / "ours.pth"), str(tmp_path / target)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if line.startswith("error") or "Traceback" in line]
        assert len(lines) == 1, done.stderr
        assert f"{target}: cannot be written (File too large)" in lines[0]
    assert names_in(tmp_path) == ["ours.pth"]


CONVERT = """
import re, sys, time
from pimjax.cli import main
began = time.perf_counter()
assert main(["convert", *sys.argv[1:]]) == 0
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) / 1024
print(f"{time.perf_counter() - began:.1f} s, {peak:.0f} MB")
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["native", "one.safetensors"])
def test_the_full_model_converts_in_little_memory_and_computes_the_same(target, tmp_path):
    """As users hold it: named by DataParallel, in a .pth of 667 MB."""
    given = reference_weights.state_dict(2)
    write_torch(tmp_path / "ckpt.pth", {f"module.{name}": array for name, array in given.items()}, "")
    arguments = [sys.executable, "-c", CONVERT, str(tmp_path / "ckpt.pth"), str(tmp_path / target)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    print(done.stdout)
    assert "166,620,811 parameters" in done.stdout
    assert float(done.stdout.split()[-2]) < 2.5 * (tmp_path / "ckpt.pth").stat().st_size / 2**20

    variables = from_torch(tmp_path / target)
    assert_equal(to_torch(variables), {name: np.asarray(array) for name, array in given.items()})
    images = reference_weights.image(2, (2, 200, 264, 3))
    out = jax.jit(lambda variables, x: PIM(ModelConfig()).apply(variables, x, train=False))(variables, images)
    with np.load(reference_weights.REFERENCE / "eval_200x264.npz") as reference:
        for name in reference.files:
            assert np.abs(getattr(out, name) - reference[name]).max() < 1e-4, name
