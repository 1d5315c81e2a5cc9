"""What pimjax 0.1 wrote still loads, and means the same: names have changed since, numbers have not.

`old/pimjax-0.1.tar.gz` was made by pimjax 0.1 (commit 2ea8c3d): `train.py --config config.py`, then convert, predict,
evaluate and robustness on `set`.
"""

import contextlib
import io
import json
import re
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

from pimjax import aliases
from pimjax.cli import main
from pimjax.config import Config, DataConfig, DegradationConfig, ModelConfig
from pimjax.config.load import flatten, read_config
from pimjax.inference.localizer import Localizer
from pimjax.training.loop import run
from pimjax.weights.load import load_model

HASH = "ad2e598f65dc14e8a0a728fa4ab382a4494f1356b70507b88cd0987a3f6e2e26"  # which pimjax 0.1 printed


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The folder that pimjax 0.1 worked in, as if it had been here; the working directory."""
    with tarfile.open(Path(__file__).parent / "old/pimjax-0.1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    rows = tmp_path / "predicted/predictions.jsonl"
    text = re.sub(r'"path": "[^"]*/set/', f'"path": "{tmp_path}/set/', rows.read_text())
    for photo in (tmp_path / "set").glob("*.png"):
        text = re.sub(rf'("photo": "set/{photo.name}".*"stamp": \[\d+, )\d+', rf"\g<1>{photo.stat().st_mtime_ns}", text)
    rows.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments):
    """(exit status, what was printed) of a pimjax command."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main(arguments)
    return status, printed.getvalue()


def test_a_configuration_with_every_old_key_reads_as_the_new_one(old):
    config = flatten(read_config("config.py"))
    text = Path("config.py").read_text()
    for section, names in aliases.CONFIG.items():
        for before, now in names.items():
            if before not in ("jpeg_traces", "history"):  # one needs a stem of its own, the other is a section
                assert re.search(rf"\b{before}=", text), f"{section}.{before} is not in the old configuration"
                assert config[f"{section}.{now}"] != flatten(Config())[f"{section}.{now}"]
    assert config["pida.degradation.min_scale"] == 0.9 and config["pida.kinds.recompressed"] == 1.0
    assert config["train.num_steps"] == 4 and config["model.patch_size"] == 8


def test_old_keys_may_be_set_and_read_one_by_one():
    config = Config(data=DataConfig(fit="crop"))
    config.train.steps = 7
    assert (config.train.num_steps, config.train.steps, config.data.resize_mode) == (7, 7, "crop")
    assert "steps" not in vars(config.train)
    with pytest.raises(ValueError, match=r"config\.train\.num_steps is 0; it must be 1 or more"):
        config.train.steps = 0
    from pimjax.config import HistoryConfig

    assert HistoryConfig is DegradationConfig


@pytest.mark.parametrize("name", ["run", "native", "model.safetensors", "model.pth"])
def test_every_old_format_holds_the_same_model(old, name):
    variables, card = load_model(name)
    assert card.model == read_config("config.py").model and card.preprocessing["resize_mode"] == "crop"
    reference, _ = load_model("run")
    assert "mask_decoder" in variables["params"]
    for leaf, other in zip(*(sorted(_leaves(tree)) for tree in (variables, reference)), strict=True):
        assert leaf[0] == other[0]
        np.testing.assert_array_equal(leaf[1], other[1])
    assert Localizer(variables, card).hash == HASH


def _leaves(tree, path=()):
    for key, value in tree.items():
        yield from _leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]


def test_an_old_run_is_known_to_be_complete_and_of_this_configuration(old, capsys):
    config = read_config("config.py")
    rows = run(config)
    assert "complete; what its last start wrote" in capsys.readouterr().out
    assert rows == json.loads(Path("run/summary.json").read_text())
    config.optimizer.schedule = "constant"  # a cosine's length is part of the recipe: refused, in new words
    with pytest.raises(ValueError, match=r"optimizer\.schedule \(there 'cosine', now 'constant'\)"):
        run(config)


def test_an_old_checkpoint_resumes_with_all_its_state(old, monkeypatch):
    from pimjax.training.checkpoint import Checkpoints
    from pimjax.training.setup import create_train_context

    monkeypatch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:1]))
    context = create_train_context(read_config("config.py"))
    with Checkpoints(context.config, context.partition, context.shapes) as checkpoints:
        state = checkpoints.restore()
    assert int(state.step) == 4 and state.rng.shape == (2,) and float(state.loss_ema) > 0
    moments = [leaf for path, leaf in _paths(state.opt_state) if "mask_decoder" in path]
    assert moments and any(np.abs(leaf).max() > 0 for leaf in moments)
    assert {"mask_decoder"} <= state.params.keys() & state.ema_params.keys()


def _paths(tree):
    return [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def test_what_was_predicted_is_not_done_again(old):
    before = {file: file.stat().st_mtime_ns for file in Path("predicted").glob("*.png")}
    status, printed = command(
        "predict", "set", "--checkpoint", "run", "--output", "predicted", "--write", "probability"
    )
    assert status == 0, printed
    assert {file: file.stat().st_mtime_ns for file in Path("predicted").glob("*.png")} == before
    assert len(Path("predicted/predictions.jsonl").read_text().splitlines()) == len(before)


def test_what_was_evaluated_goes_on(old):
    """Another dataset is added to results whose JSON has the old keys; the report reads both."""
    versions = json.loads(Path("evaluation/benchmark.json").read_text())["versions"]
    _as_if_today(versions)
    status, printed = command(
        "evaluate", "--model", "everything", "--source", "csv:set/set.csv", "other=csv:set/set.csv"
    )
    assert status == 0, printed
    about = json.loads(Path("evaluation/benchmark.json").read_text())
    assert about["datasets"].keys() == {"set", "other"} and "sets" not in about
    assert "### set" in Path("evaluation/tables.md").read_text()


def test_what_was_measured_of_robustness_is_read(old):
    from pimjax.evaluation.schema import ROBUSTNESS, read_state

    result = read_state(Path("robustness/robustness.json"), ROBUSTNESS, "pimjax robustness")
    assert [row["corruption"] for row in result["rows"]] == [None, "jpeg"]
    assert result["areas"][0]["dataset"] == "set" and result["areas"][0]["uncorrupted"] > 0


def _as_if_today(versions):
    """Results of other libraries' versions are refused; pretend that these are of today's."""
    from pimjax.versions import versions as now

    for file in Path("evaluation").rglob("about.json"):
        file.write_text(file.read_text().replace(json.dumps(versions)[1:-1], json.dumps(now())[1:-1]))
        about = json.loads(file.read_text())
        file.write_text(json.dumps(about | {"versions": now()}, indent=1) + "\n")


def test_the_old_flag_of_robustness_works(old):
    status, printed = command(
        "robustness",
        "--model",
        "everything",
        "--source",
        "csv:set/set.csv",
        "--protocol",
        "jpeg=90",
        "--output",
        "again",
    )
    assert status == 0, printed
    assert json.loads(Path("again/robustness.json").read_text())["rows"][1]["corruption"] == "jpeg"


def test_model_config_keeps_its_old_identity():
    from pimjax.weights.card import ModelCard

    assert (
        ModelCard(ModelConfig(patch_size=8))
        .identity()
        .startswith("(ModelConfig(patch=8, embed_dim=96, depths=(2, 2, 6")
    )
