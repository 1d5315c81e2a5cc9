"""A run loses nothing: killed, asked to end, or on a full disk, it ends as if nothing had happened."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from train_processes import ROOT, finish, logged, small_config, start, wait_until

from pimjax.training.checkpoint import Checkpoints
from pimjax.training.distributed import lock_workdir
from pimjax.training.metric_writer import MetricWriter
from pimjax.training.setup import create_train_context, create_train_state


def newest(workdir):
    """All arrays of the newest checkpoint."""
    import orbax.checkpoint as ocp

    steps = (Path(workdir).resolve() / "checkpoints").glob("step_*")
    last = max((path for path in steps if "tmp" not in path.name), key=lambda path: int(path.name[5:]))
    return {item: ocp.StandardCheckpointer().restore(last / item) for item in ("variables", "optimizer")}


def outlive(launch, workdir, kills, ends, rng, longest):
    """Starts the run again and again until it is done: `kills` times it is killed, every second time while it writes a
    checkpoint, and `ends` times it is asked to end. Returns how often a half-written checkpoint was there.
    """
    checkpoints, torn = Path(workdir) / "checkpoints", 0
    blows = [signal.SIGKILL] * kills + [signal.SIGTERM] * ends
    rng.shuffle(blows)
    for number, blow in enumerate(blows):
        process = launch()
        moment = time.monotonic() + rng.uniform(0, longest)
        writings, seen = rng.randint(1, 3), set()
        while process.poll() is None:
            # Half the blows come at a random moment, half while the second to fourth checkpoint is being written.
            writing = {path.name for path in checkpoints.glob("*tmp*")} if checkpoints.exists() else set()
            seen |= writing
            if time.monotonic() > moment if number % 2 else (len(seen) > writings and writing):
                time.sleep(rng.uniform(0, 0.02))
                process.send_signal(blow)
                break
            time.sleep(0.001)
        text, _ = process.communicate(timeout=120)
        if process.poll() == 0 and "best checkpoint" in text:
            pytest.fail(f"done after {number} blows already: give it more steps")
        if blow == signal.SIGTERM and not text:  # before Python had read train.py
            assert process.returncode in (0, -signal.SIGTERM)
        else:
            assert process.returncode == (-signal.SIGKILL if blow == signal.SIGKILL else 0), text
        torn += any(checkpoints.glob("*tmp*")) if checkpoints.exists() else 0
    finish(launch(), timeout=1800)
    return torn


def same_end(workdir, other):
    """Bit for bit: parameters, statistics, optimizer, logged losses, scores."""
    jax.tree.map(np.testing.assert_array_equal, newest(workdir), newest(other))
    assert logged(workdir) == logged(other)
    assert logged(workdir, "validation/f1") == logged(other, "validation/f1")
    assert (Path(workdir) / "summary.json").read_text() == (Path(other) / "summary.json").read_text()


def test_killed_and_asked_to_end_it_comes_out_the_same(tmp_path):
    flags = ["--config.train.num_steps=60", "--config.train.validate_every=30", "--config.train.checkpoint_every=5"]
    finish(start(tmp_path / "calm", *flags))
    outlive(
        lambda: start(tmp_path / "rough", *flags, "--config.data.num_workers=1"),
        tmp_path / "rough",
        kills=2,
        ends=1,
        rng=random.Random(1),
        longest=6,
    )
    same_end(tmp_path / "rough", tmp_path / "calm")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["small", "demo"])
def test_a_run_outlives_thirty_kills(tmp_path, what):
    """1,500 steps of the tests' small model (minutes), and 450 of the README's demo (most of an hour)."""
    environment = {name: value for name, value in os.environ.items() if what == "small" or name != "XLA_FLAGS"}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "compiled")

    def launch(name):
        if what == "small":
            flags = ("num_steps=1500", "checkpoint_every=10", "validate_every=500", "log_every=50")
            return start(tmp_path / name, *(f"--config.train.{flag}" for flag in flags))
        command = [sys.executable, "train.py", "--config", "configs/demo.py", f"--config.workdir={tmp_path / name}"]
        command += ["--config.train.num_steps=450", "--config.train.checkpoint_every=10"]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    finish(launch("calm"), timeout=1800)
    torn = outlive(
        lambda: launch("rough"),
        tmp_path / "rough",
        kills=30,
        ends=5,
        rng=random.Random(0),
        longest={"small": 20, "demo": 60}[what],
    )
    print(f"30 kills and 5 requests to end; {torn} left a half-written checkpoint")
    assert torn > 3
    same_end(tmp_path / "rough", tmp_path / "calm")


@pytest.fixture
def no_large_files():
    """As on a full disk: what is larger than 20 kB cannot be written, until the file of that size is allowed again."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    allow = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)  # noqa: E731
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1])), allow
    allow()
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pimjax.training.setup.all_devices", lambda: tuple(jax.devices()[:1]))
        return create_train_context(small_config(tmp_path_factory.mktemp("prepared") / "run"))


def test_a_full_disk_leaves_the_earlier_checkpoint(prepared, no_large_files, capsys):
    init_partial, free = no_large_files
    state = create_train_state(prepared)
    with Checkpoints(prepared.config, prepared.partition, prepared.shapes) as checkpoints:
        checkpoints.save(state)
        assert checkpoints.settle(wait=True)
        init_partial()
        checkpoints.save(state.replace(step=state.step + 1))
        assert not checkpoints.settle(wait=True)
        said = capsys.readouterr().out
        assert "checkpoint of step 1 could not be written (that of step 0 is intact)" in said
        assert os.strerror(errno.EFBIG) in said
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore().params, state.params)
        free()
        checkpoints.save(state.replace(step=state.step + 2), {"f1": 0.5})
        assert checkpoints.settle(wait=True)
        assert checkpoints.newest == 2
        # Not before: orbax's threads may go on writing for a moment after one of them has failed.
        assert not list((prepared.workdir / "checkpoints").glob("*tmp*"))
    with Checkpoints(prepared.config, prepared.partition, prepared.shapes) as checkpoints:
        assert int(checkpoints.restore().step) == 2
        assert checkpoints.validations == [{"step": 2, "f1": 0.5}]


def test_a_log_waits_for_room(tmp_path, no_large_files, capsys):
    init_partial, free = no_large_files
    log = MetricWriter(small_config(tmp_path), start_step=1)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n' + " " * 19_980 + "\n")
    init_partial()
    for step in (1, 2):
        log.write(step, {"loss/total": 0.5 * step})
    assert capsys.readouterr().out.count("the log cannot be written for now") == 1
    assert (tmp_path / "metrics.jsonl").stat().st_size < 20_000
    free()
    log.write(3, {"loss/total": 1.5})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if line.strip()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]


def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
    with lock_workdir(tmp_path), pytest.raises(ValueError, match="another run is at work there"):
        lock_workdir(tmp_path)
    lock_workdir(tmp_path).close()


SLOW_VALIDATION = """
import pathlib, time
import pimjax.training.checkpoint_and_eval as checkpoint_and_eval
real = checkpoint_and_eval.validate
def validate(*arguments):
    pathlib.Path("{marker}").touch()
    time.sleep(100)
    return real(*arguments)
checkpoint_and_eval.validate = validate
"""


def test_asked_to_end_while_validating_it_validates_when_it_goes_on(tmp_path):
    """A validation that takes too long is broken off, though it is of the last step; its scores come later."""
    flags = ["--config.train.num_steps=2", "--config.train.validate_every=2"]
    finish(start(tmp_path / "calm", *flags))
    rough, marker = tmp_path / "rough", tmp_path / "validating"
    process = start(rough, *flags, prelude=SLOW_VALIDATION.format(marker=marker))
    wait_until(marker.exists, process)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert "asked to end: checkpoint of step 2 saved" in finish(process)[0]
    assert time.monotonic() - asked < 20
    assert not logged(rough, "validation/f1")
    finish(start(rough, *flags))
    same_end(rough, tmp_path / "calm")
