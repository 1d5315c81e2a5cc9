"""What a run can be told to do beside the published recipe, in one run that does it all."""

import contextlib
import dataclasses
import json
import operator
import struct
import sys
import types

import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from train_processes import logged, small_config

from pimjax.config import OptimizerConfig, ProfileConfig
from pimjax.config.validate import check
from pimjax.training.checkpoint import Checkpoints
from pimjax.training.loop import run
from pimjax.training.metric_writer import MetricWriter
from pimjax.training.setup import create_train_context
from pimjax.weights.runs import load_variables


@contextlib.contextmanager
def devices(count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:count]))
        yield


@pytest.fixture(scope="module", autouse=True)
def one_device():
    with devices(1):
        yield


def equipped(workdir, steps=6, **train):
    config = small_config(workdir)
    config.optimizer = OptimizerConfig(
        learning_rate=1e-3, warmup_steps=4, grad_clip_norm=1.0, ema_decay=0.5, layer_decay=0.9
    )
    config.profile = ProfileConfig(steps=(2, 3))
    config.train = dataclasses.replace(
        config.train, num_steps=steps, validate_every=2, checkpoint_every=1, keep_last=2, keep_best=2, **train
    )
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("equipped") / "run"
    run(equipped(workdir))
    return workdir


def events(workdir):
    """All of TensorBoard's: length, its checksum, the event, its checksum."""
    for file in sorted((workdir / "tensorboard").glob("events*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def test_the_log_has_rate_pace_and_pictures(finished):
    rates = logged(finished, "learning_rate")
    assert rates == pytest.approx({1: 0, 2: 2.5e-4, 3: 5e-4, 4: 7.5e-4, 5: 1e-3, 6: 1e-3})
    assert all(0 <= share <= 1 for share in logged(finished, "data_wait").values())
    assert set(logged(finished, "seconds_per_step")) <= set(rates)
    shown = {(event.step, value.tag): value for event in events(finished) for value in event.summary.value}
    assert shown[6, "learning_rate"].simple_value == pytest.approx(1e-3)
    for step in (2, 4, 6):
        assert shown[step, "validation"].image.encoded_image_string.startswith(b"\x89PNG")
        assert (step, "validation/f1") in shown


def test_the_profile_is_of_the_steps_asked_for(finished):
    (trace,) = (finished / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 1000


def test_last_and_best_are_kept(finished):
    kept = {int(path.name.removeprefix("step_")) for path in (finished / "checkpoints").glob("step_*")}
    scores = logged(finished, "validation/f1")
    best = sorted(scores, key=lambda step: (scores[step], step))[-2:]
    assert kept == {5, 6} | set(best)


def test_the_average_is_the_model_and_the_run_goes_on_from_its_parameters(finished, tmp_path):
    """On two devices that share out the state, as pmap stores it, then as shard_map does, then whole on one device."""
    with devices(2):
        run(equipped(tmp_path / "run", steps=2, shard_optimizer=True))
        run(equipped(tmp_path / "run", steps=4, mapping="shard_map", shard_optimizer=True))
    run(equipped(tmp_path / "run", init="nowhere"))  # not read on resuming
    assert logged(tmp_path / "run") == pytest.approx(logged(finished), rel=1e-5)
    assert logged(tmp_path / "run", "validation/f1") == logged(finished, "validation/f1")
    setup = create_train_context(equipped(finished))
    with Checkpoints(setup.config, setup.partition, setup.shapes) as checkpoints:
        state = checkpoints.restore()
        assert [row["step"] for row in checkpoints.validations] == [2, 4, 6]
        _, best = checkpoints.best_variables()
    if max(logged(finished, "validation/f1"), key=logged(finished, "validation/f1").get) == 6:
        jax.tree.map(np.testing.assert_array_equal, best["params"], state.ema_params)
    jax.tree.map(np.testing.assert_array_equal, load_variables(finished)[0]["params"], best["params"])
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.ema_params, state.params)
    assert max(jax.tree.leaves(moved)) > 1e-5


def test_a_spike_stops_the_run_or_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("pimjax.training.step.SETTLED", 2)
    config = equipped(tmp_path / "run", spike=1.0001)
    config.profile = ProfileConfig()
    with pytest.raises(ValueError, match=r"step \d is bad .*its 8 images are in .*bad_steps\.jsonl") as stopped:
        run(config)
    (line,) = map(json.loads, (tmp_path / "run" / "bad_steps.jsonl").read_text().splitlines())
    assert f"step {line['step']} is bad" in str(stopped.value)
    assert len(line["ids"]) == 8
    assert set(line["ids"]) <= {name for source in create_train_context(config).sources for name in source.ids()}
    config.train.bad_step = "skip"
    run(config)
    lines = list(map(json.loads, (tmp_path / "run" / "bad_steps.jsonl").read_text().splitlines()))
    assert lines[1] == lines[0]  # met again, and passed
    assert max(logged(tmp_path / "run")) == 6
    # Its loss is in the log, as it was.
    assert logged(tmp_path / "run")[line["step"]] == line["loss"]


def test_other_groups_for_batch_norm_are_refused(tmp_path):
    """Statistics per device: two devices with one part each are to them what one with two parts is."""
    config = equipped(tmp_path / "run", sync_batch_norm=False, steps=1, grad_accum_steps=2)
    run(config)
    for count, grad_accum_steps, good in ((1, 2, True), (2, 1, True), (2, 2, False)):
        config.train.grad_accum_steps = grad_accum_steps
        with devices(count):
            setup = create_train_context(config)
        with Checkpoints(setup.config, setup.partition, setup.shapes) as checkpoints:
            if good:
                assert int(checkpoints.restore().step) == 1
                continue
            with pytest.raises(ValueError, match=r"of 4 images \(1 devices\), here .* of 2.*grad_accum_steps = 1"):
                checkpoints.restore()


def test_weights_and_biases_gets_what_the_log_gets(tmp_path, monkeypatch):
    told = []
    fake = types.SimpleNamespace(
        init=lambda **settings: told.append(settings) or types.SimpleNamespace(
            define_metric=lambda *names, **settings: None, log=told.append, finish=lambda: told.append("finished")
        ),
        Image=lambda image: ("image", image.shape),
    )  # fmt: skip
    config = small_config(tmp_path / "run")
    config.train.wandb = "forensics"
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'pimjax\[wandb\]'"):
        MetricWriter(config, 1)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for _ in range(2):
        log = MetricWriter(config, 1)
        log.write(1, {"loss/total": 2.0})
        log.picture(1, "validation", np.zeros((4, 5, 3), np.uint8))
        log.close()
    first, *lines = told[:4]
    assert first["project"] == "forensics"
    assert first["config"]["seed"] == 0
    assert lines == [{"step": 1, "loss/total": 2.0}, {"step": 1, "validation": ("image", (4, 5, 3))}, "finished"]
    assert told[4]["id"] == first["id"]  # the same run goes on


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("optimizer", "schedule", "linear", "must be one of 'constant', 'cosine'"),
        ("optimizer", "ema_decay", 1.0, "must be 0 or more and below 1"),
        ("optimizer", "layer_decay", 1.1, "must lie in 0"),
        ("train", "spike", 0.5, "above 1, or 0"),
        ("train", "keep_last", 0, "must be 1 or more"),
        ("train", "bad_step", "retry", "must be one of 'stop', 'skip'"),
        ("profile", "steps", (5, 3), "give the first and the last step"),
        ("pida.degradation", "min_scale", 0.01, r"must lie in 0\.05 … 1"),
        ("pida.degradation", "jpeg_prob", 1.1, "must lie in 0 … 1"),
        ("pida.degradation", "min_quality", 0, "must lie in 1 … 98"),
        ("pida.degradation", "grid_aligned_prob", -0.1, "must lie in 0 … 1"),
        ("model", "patch_size", 6, "must be one of 4, 8, 16"),
    ],
)
def test_values_no_run_can_use_are_refused(tmp_path, section, key, value, message):
    config = small_config(tmp_path)
    with pytest.raises(ValueError, match=rf"config\.{section}\.{key} is .*{message}"):
        setattr(operator.attrgetter(section)(config), key, value)
        check(config)  # what does not go together
