"""Whole runs of a tiny model: repeated, interrupted, resumed, on broken data; and a run's checkpoint in use."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_processes import logged

from pimjax import Localizer
from pimjax.cli import main
from pimjax.config import Config, DataConfig, OptimizerConfig, PidaConfig, TrainConfig, tiny_model
from pimjax.data.images import read_image
from pimjax.data.registry import load_source
from pimjax.training.checkpoint import check_same_run
from pimjax.training.loop import run
from pimjax.training.reporting import MetricWriter, UnreadableImages
from pimjax.training.setup import create_train_context, create_train_state
from pimjax.training.step import train_step
from pimjax.weights.card import card_of_run
from pimjax.weights.runs import load_variables

ROOT = Path(__file__).parent.parent
CAT = load_source("installed:validation").records[0].image


def config(workdir, steps=6, **data):
    return Config(
        workdir=str(workdir),
        model=tiny_model(depths=(1,), num_heads=(1,), pool_scales=(1, 2)),  # quick to compile
        optimizer=OptimizerConfig(learning_rate=1e-3),
        pida=PidaConfig(probability=0.8),
        data=dataclasses.replace(
            DataConfig(image_size=32, resize_mode="crop", batch_size=4, validation_images=6, num_workers=0), **data
        ),
        train=TrainConfig(num_steps=steps, validate_every=3, log_every=1, checkpoint_every=2),
    )


@pytest.fixture(scope="module", autouse=True)
def four_devices():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:4]))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of an uninterrupted run of six steps, and what it returned."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, run(config(workdir))


def test_a_run_logs_validates_and_summarizes(finished):
    workdir, rows = finished
    assert sorted(logged(workdir)) == [1, 2, 3, 4, 5, 6]
    assert sorted(logged(workdir, "validation/f1")) == [3, 6]
    assert [row["metric"] for row in rows] == ["f1", "iou", "mcc", "auc"]
    assert json.loads((workdir / "summary.json").read_text()) == rows
    assert rows[0]["mean"] == pytest.approx(max(logged(workdir, "validation/f1").values()), abs=1e-6)
    assert list((workdir / "tensorboard").glob("events*"))
    sheet = read_image(workdir / "contact_sheet.png")
    assert sheet.shape[1] > 5 * 160


def test_a_run_starts_from_another_s_weights(finished, tmp_path):
    following = config(tmp_path)
    following.train.init = str(finished[0])
    state = create_train_state(create_train_context(following))
    jax.tree.map(np.testing.assert_array_equal, state.params, load_variables(finished[0])[0]["params"])
    assert int(state.step) == 0
    following.train.init = "nowhere"
    with pytest.raises(FileNotFoundError, match="nowhere: no checkpoint there"):
        create_train_state(create_train_context(following))


def test_a_checkpoint_of_another_configuration_is_refused(finished):
    _, stored = load_variables(finished[0])
    check_same_run(stored, config("elsewhere", steps=9), finished[0])
    other = config(finished[0])
    other.model.local_stream = "none"
    with pytest.raises(ValueError, match=r"another configuration: model\.local_stream \(there 'both', now 'none'\)"):
        check_same_run(stored, other, finished[0])


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_resumes(finished, tmp_path):
    """A real process, stopped by SIGINT at an arbitrary step and started again."""
    (tmp_path / "config.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        f"from test_training_run import config\n\n\n"
        f"def get_config():\n    return config({str(tmp_path / 'run')!r}, steps=60, num_workers=1)\n"
    )
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(tmp_path / "config.py")]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and metrics.read_text().count("\n") >= 5):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
    text, _ = process.communicate(timeout=120)
    stopped = int(re.search(r"interrupted: checkpoint of step (\d+) saved", text).group(1))
    assert 5 <= stopped < 60
    command.append(f"--config.train.num_steps={stopped + 1}")
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert f"from step {stopped}" in again.stdout, again.stdout + again.stderr
    losses = logged(tmp_path / "run")
    assert sorted(losses) == list(range(1, stopped + 2))
    assert {step: losses[step] for step in range(1, 7)} == logged(finished[0])


def test_a_run_survives_broken_images_and_reports_them(tmp_path, capsys):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8))
    (tmp_path / "1.png").write_bytes(b"broken")
    run(config(tmp_path / "run", steps=2, max_unreadable=0.5, train=(f"folder:{tmp_path}",)))
    printed = capsys.readouterr().out
    assert printed.count("skipped:") == 1
    assert re.search(r"1 unreadable training images were skipped, \d+ times", printed)


def test_broken_images_are_named_once_and_counted(capsys):
    broken = UnreadableImages(images=10, max_share=0.2)
    broken.note(["", "a", "a\nb"])
    assert broken.messages == {"a": 2, "b": 1}
    assert capsys.readouterr().out.count("skipped: a") == 1
    with pytest.raises(ValueError, match="3 of 10"):
        broken.note(["c"])


def test_a_resumed_run_s_log_forgets_what_it_computes_again(tmp_path):
    for start in (1, 3):
        log = MetricWriter(config(tmp_path), start)
        for step in (1, 2, 3, 4)[start - 1 :]:
            log.write(step, {"loss/total": float(10 * start + step)})
        log.close()
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 5, "loss/to')  # killed
    assert logged_lines(tmp_path) == {1: 11.0, 2: 12.0, 3: 33.0, 4: 34.0}


def logged_lines(workdir):
    whole, half = (workdir / "metrics.jsonl").read_text().rsplit("\n", 1)
    assert half == '{"step": 5, "loss/to'
    return {line["step"]: line["loss/total"] for line in map(json.loads, whole.splitlines())}


def test_predict_writes_maps_of_the_photo_s_size(finished, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    twin = tmp_path / "other" / CAT.name
    twin.parent.mkdir()
    twin.write_bytes(CAT.read_bytes())
    photos = [str(CAT), str(tmp_path / "broken.jpg"), str(twin)]
    status = main(["predict", *photos, "--checkpoint", str(finished[0]), "--output", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert status == 1
    assert "broken.jpg: damaged" in printed.err
    H, W, _ = read_image(CAT).shape
    for name in ("chelsea", "chelsea-2"):
        assert cv2.imread(str(tmp_path / "out" / f"{name}_probability.png"), cv2.IMREAD_UNCHANGED).shape == (H, W)
        assert read_image(tmp_path / "out" / f"{name}_overlay.png").shape == (H, W, 3)
    row = next(line for line in printed.out.splitlines() if str(twin) in line).split("\t")
    assert 0 <= float(row[0]) <= 1
    assert row[3].endswith("chelsea-2_probability.png")


def test_localizer_gives_probability_and_score(finished):
    localizer = Localizer.load(finished[0])
    photo = read_image(CAT)[:50, :70]
    result = localizer(photo)
    assert result.probability.shape == (50, 70)
    assert result.probability.dtype == np.float32
    assert 0 <= result.probability.min() <= result.probability.max() <= result.score <= 1
    with pytest.raises(ValueError, match="uint8"):
        localizer(photo.astype(np.float32))


def test_details_and_precision_of_a_localization(finished, tmp_path, capsys):
    photo = read_image(CAT)[:50, :70]
    localizer = Localizer.load(finished[0])
    result = localizer(photo, details=True)
    np.testing.assert_allclose(result.probability, localizer(photo).probability, atol=1e-6)
    assert result.boundary.shape == (50, 70)
    assert result.reconstruction.shape == (50, 70, 3)
    assert result.reconstruction.dtype == np.uint8
    assert localizer(photo).boundary is None
    # Not equal, or half precision was not used; not far, or it cannot be.
    half = Localizer.load(finished[0], precision="bfloat16")(photo).probability
    assert 0 < np.abs(half - result.probability).mean() < 0.02
    with pytest.raises(ValueError, match="'float16': it must be one of 'float32', 'bfloat16'"):
        Localizer.load(finished[0], precision="float16")
    command = ["predict", str(CAT), "--checkpoint", str(finished[0]), "--output", str(tmp_path), "--write"]
    names = ("mask", "boundary", "reconstruction")
    assert main([*command, *names]) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {f"{CAT.stem}_{name}.png" for name in names}


def test_execution_is_what_the_configuration_says(tmp_path, monkeypatch):
    """Precision, rematerialisation and parts reach the step, which can be traced with all three."""
    wanted = config(tmp_path, steps=1)
    wanted.train = dataclasses.replace(wanted.train, precision="bfloat16", remat=True, grad_accum_steps=2)

    class TracedError(Exception):
        pass

    def spy(step_config, state, batch):
        train_step(step_config, state, batch)
        raise TracedError(
            step_config.model.execution.dtype, step_config.model.execution.remat, step_config.grad_accum_steps
        )

    monkeypatch.setattr("pimjax.training.loop.train_step", spy)
    monkeypatch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:2]))
    with pytest.raises(TracedError) as seen:
        run(wanted)
    assert seen.value.args == (jnp.bfloat16, True, 2)


def test_a_run_converts_to_one_file_of_the_same_model(finished, tmp_path, capsys):
    assert main(["convert", str(finished[0]), str(tmp_path / "run.safetensors")]) == 0
    photo = read_image(CAT)[:50, :70]
    ours, theirs = (Localizer.load(path)(photo) for path in (tmp_path / "run.safetensors", finished[0]))
    np.testing.assert_array_equal(ours.probability, theirs.probability)


def test_a_resizing_model_localizes_at_the_photo_s_size_too(finished):
    variables, stored = load_variables(finished[0])
    stored.data.resize_mode = "resize"
    assert Localizer(variables, card_of_run(stored))(read_image(CAT)[:50, :70]).probability.shape == (50, 70)


def test_missing_checkpoints_are_refused(tmp_path, capsys):
    assert main(["predict", str(CAT), "--checkpoint", str(tmp_path / "none")]) == 1
    assert "no checkpoint there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.model.dephts=1", r"--config\.model\.dephts: no such key; did you mean --config\.model\.depths"),
        ("--config.learning_rate=1", r"did you mean --config\.optimizer\.learning_rate"),
        ("--config.train.num_steps=x", r"config\.train\.num_steps.*x"),
        ("config.seed=1", r"config\.seed=1: not a flag; did you forget the dashes"),
        ("--config.model.num_heads=(3,2,4,8)", r"16 channels, which 3 heads cannot share evenly"),
        (
            "--config.data.resize_mode=squeeze",
            r"config\.data\.resize_mode is 'squeeze'; it must be one of 'resize', 'crop'",
        ),
        ("--config.data.train=folder:/nowhere", r"/nowhere: no such folder"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(argument, message, tmp_path):
    command = [sys.executable, "train.py", "--config", "configs/demo.py", f"--config.workdir={tmp_path}", argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert re.search(message, lines[0])


def test_validation_photographs_are_never_trained_on(tmp_path):
    with pytest.raises(
        ValueError, match=r"2 images are in both .*validation must hold photographs that training never"
    ):
        run(config(tmp_path, train=("installed:validation",)))


def test_a_checkpoint_can_be_used_on_other_devices(finished):
    """Written from four devices, read where there is one."""
    code = f"from pimjax import Localizer; print(Localizer.load({str(finished[0])!r})(r'{CAT}').score)"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert 0 <= float(done.stdout) <= 1, done.stderr
