"""The start of a run: parameters without compiling the network, a word for each step, and no file of others touched."""

import dataclasses
import errno
import json
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_processes import small_config

from pimjax.config import tiny_model
from pimjax.config.networks import UNetConfig, ViTB16Config
from pimjax.data.pipeline import _explain_worker_errors
from pimjax.files import ForeignFileError, write_text
from pimjax.models.factory import create_model
from pimjax.training import finished, progress
from pimjax.training.finished import claim_results, finished_summary
from pimjax.training.init_params import fresh_variables
from pimjax.training.loop import run
from pimjax.training.metric_writer import disk_errors
from pimjax.training.setup import create_train_context


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    monkeypatch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:1]))


@pytest.mark.parametrize(
    "model",
    [
        tiny_model(depths=(1, 1), num_heads=(1, 2), pool_scales=(1, 2)),
        tiny_model(
            depths=(1,), num_heads=(1,), pool_scales=(1,), patch_size=8, spectral_stem=True, high_pass_init=False
        ),
        UNetConfig(embed_dim=2),
        ViTB16Config(embed_dim=8, depths=(2,), num_heads=2, decoder_channels=8),
    ],
    ids=["pim", "spectral", "unet", "vit"],
)
def test_initial_parameters_are_those_of_init(model):
    network, key = create_model(model), jax.random.key(3)
    fresh = fresh_variables(network, key)
    expected = jax.jit(network.init)(key, jnp.zeros((1, 32, 32, 3)))
    assert jax.tree.structure(fresh) == jax.tree.structure(expected)
    # Equal to the bit where XLA optimises; here, where it does not (conftest.py), one of them is rounded otherwise.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-7), fresh, expected)
    shapes = jax.eval_shape(lambda key: fresh_variables(network, key), key)
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == jax.tree.map(lambda leaf: leaf.shape, expected)


def test_few_generators_are_compiled_for_them(monkeypatch):
    """Not one for every shape, nor the network: that is what took the time."""
    sizes, draw = set(), jax.random.truncated_normal

    def counted(key, low, high, shape, dtype):
        sizes.add(shape)
        return draw(key, low, high, shape, dtype)

    network = create_model(tiny_model(depths=(1, 1), num_heads=(1, 2)))
    key = jax.random.key(0)
    shapes = {leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(network.init, key, jnp.zeros((1, 32, 32, 3))))}
    monkeypatch.setattr(jax.random, "truncated_normal", counted)
    fresh_variables(network, key)
    assert 1 <= len(sizes) <= 3 < len(shapes)


def test_each_step_tells_what_it_does_and_how_long(monkeypatch, capsys):
    monkeypatch.setattr(progress, "HEARTBEAT", 0.05)
    with progress.timed_phase("compiling"):
        time.sleep(0.18)
    first, *beats, last = capsys.readouterr().out.splitlines()
    assert first == "compiling …"
    assert len(beats) >= 2 and all(beat == "compiling … 0 s" for beat in beats)
    assert last == "compiling: 0.2 s"
    with pytest.raises(ValueError), progress.timed_phase("making"):
        raise ValueError
    assert capsys.readouterr().out == "making …\n"


def test_a_run_s_start_is_not_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pimjax.training.loop.compile_step", lambda *arguments: pytest.skip("far enough"))
    with pytest.raises(pytest.skip.Exception):
        run(small_config(tmp_path / "run"))
    said = capsys.readouterr().out
    for work in ("reading 2 sources", "making the validation set", "making the initial parameters"):
        assert f"{work} …\n{work}: " in said


@pytest.fixture
def complete(tmp_path, monkeypatch):
    """The configuration of a run whose checkpoints are complete, without having trained: of steps 3 and 6."""
    from pimjax.training.checkpoint import Checkpoints
    from pimjax.training.setup import create_train_state

    config = small_config(tmp_path / "run")
    config.train = dataclasses.replace(config.train, num_steps=6, keep_last=2)
    setup = create_train_context(config)
    state = create_train_state(setup)
    with Checkpoints(config, setup.partition, setup.shapes) as checkpoints:
        for step, f1 in ((3, 0.5), (6, 0.4)):
            checkpoints.save(state.replace(step=jnp.full((), step, jnp.int32)), {"f1": f1, "iou": 0.3})
    rows = [
        {
            "metric": "f1",
            "mean": 0.5,
            "low": 0.4,
            "high": 0.6,
            "mark_everything": 0.1,
            "images": 6,
            "undefined": 0,
            "step": 3,
        }
    ]
    write_text(setup.workdir / "summary.json", json.dumps(rows))
    (setup.workdir / "contact_sheet.png").touch()
    return config, rows


def test_a_complete_run_answers_at_once(complete, monkeypatch, capsys):
    config, rows = complete

    class ReadError(Exception):
        pass

    def read(config):
        raise ReadError

    monkeypatch.setattr("pimjax.training.loop.create_train_context", read)
    assert run(config) == rows
    assert "| F1 at 0.5 | 0.500 |" in capsys.readouterr().out
    # What is not of this checkpoint, or not complete, is computed again.
    file = finished.Path(config.workdir) / "summary.json"
    for change in ({"step": 6}, {"mean": 0.7}, {"step": None}, {"step": 9}):
        file.write_text(json.dumps([rows[0] | change]))
        with pytest.raises((ReadError, KeyError)):
            run(config)
    for text in ("", "[]", "{}", "null", "[" * 100_000, '[{"mean": 1}]'):
        file.write_text(text)
        assert finished_summary(config) is None
    file.write_text(json.dumps(rows))
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, num_steps=9))
    with pytest.raises(ReadError):
        run(longer)
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(ValueError, match="another configuration: seed"):
        run(other)


FOREIGN = {
    "metrics.jsonl": [b'{"loss": 1}\n', b"my notes\n", b'{"step": 1, "acc": 0.5}\n', b"\xff\xfe\n", b"[1]\n"],
    "summary.json": [b"{}", b""],
    "contact_sheet.png": [b"\x89PNG holiday", b""],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_run_s_is_refused_and_kept(name, tmp_path):
    for content in FOREIGN[name]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            ForeignFileError, match=rf"{name}: exists and .*; move it away, or give another --config\.w"
        ):
            claim_results(tmp_path, resumed=False)
        assert (tmp_path / name).read_bytes() == content
        claim_results(tmp_path, resumed=True)  # of a run of an older pimjax
    config = small_config(tmp_path)
    with pytest.raises(ForeignFileError):
        run(config)
    assert (tmp_path / name).read_bytes() == content


def test_a_log_of_a_run_killed_before_its_first_checkpoint_is_taken_up(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "time": 1.5, "loss/total": 2}\n{"step": 2, "ti')
    claim_results(tmp_path, resumed=False)


def test_a_full_disk_is_found_before_the_training(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("pimjax.files.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"run: .* MB are needed there, 0 MB are free; make room"):
        run(small_config(tmp_path / "run"))
    for number, remedy in ((errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EROFS, "correct the path")):
        with pytest.raises(OSError, match=rf"runs/x: cannot be written .*; {remedy}"), disk_errors():
            raise OSError(number, "text", "runs/x")
    with pytest.raises(FileNotFoundError), disk_errors():
        raise FileNotFoundError(errno.ENOENT, "text", "data.csv")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "/dev/shm: too small .*workers = 2.*--shm-size=2g.*num_workers=0",
        ),
        (
            RuntimeError(f"Worker process was terminated unexpectedly with exit code -{signal.SIGBUS:d}."),
            "/dev/shm: too",
        ),
        (RuntimeError("Worker process was terminated unexpectedly with exit code -9. Search"), "killed.*give fewer"),
    ],
)
def test_a_small_shared_memory_is_named_with_its_remedy(error, message):
    def batches():
        yield {"image": 1}
        raise error

    told = _explain_worker_errors(batches(), 2)
    assert next(told) == {"image": 1}
    with pytest.raises(OSError, match=message):
        next(told)


def test_other_errors_of_workers_stay_what_they_are():
    def batches():
        raise error
        yield

    for error in (RuntimeError("exit code 1"), FileNotFoundError(errno.ENOENT, "gone"), ValueError("bad")):
        with pytest.raises(type(error)):
            next(_explain_worker_errors(batches(), 2))
