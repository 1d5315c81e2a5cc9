"""A run loses nothing: killed, asked to end, or on a full disk, it ends as if nothing had happened."""

import errno
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from launch import ROOT, finish, logged, small_config, start

from pimjax.training.logs import RunLog


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
            if (len(seen) > writings and writing) if number % 2 else time.monotonic() > moment:
                time.sleep(rng.uniform(0, 0.02))
                process.send_signal(blow)
                break
            time.sleep(0.001)
        text, _ = process.communicate(timeout=120)
        if process.poll() == 0 and "best checkpoint" in text:
            pytest.fail(f"done after {number} blows already: give it more steps")
        assert process.returncode == (-signal.SIGKILL if blow == signal.SIGKILL else 0), text
        torn += any(checkpoints.glob("*tmp*")) if checkpoints.exists() else 0
    finish(launch(), timeout=1800)
    return torn


def same_end(workdir, other):
    """Bit for bit: parameters, statistics, optimiser, logged losses, scores."""
    jax.tree.map(np.testing.assert_array_equal, newest(workdir), newest(other))
    assert logged(workdir) == logged(other)
    assert logged(workdir, "validation/f1") == logged(other, "validation/f1")
    assert (Path(workdir) / "summary.json").read_text() == (Path(other) / "summary.json").read_text()


def test_killed_and_asked_to_end_it_comes_out_the_same(tmp_path):
    flags = ["--config.train.steps=60", "--config.train.validate_every=30", "--config.train.checkpoint_every=5"]
    finish(start(tmp_path / "calm", *flags))
    outlive(
        lambda: start(tmp_path / "rough", *flags, "--config.data.workers=1"),
        tmp_path / "rough",
        kills=2,
        ends=1,
        rng=random.Random(1),
        longest=20,
    )
    same_end(tmp_path / "rough", tmp_path / "calm")


@pytest.mark.slow
def test_the_demo_outlives_thirty_kills(tmp_path):
    """The README's demo, 300 steps of it; its programs are compiled once."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "compiled")

    def launch(name):
        command = [sys.executable, "train.py", "--config", "configs/demo.py", f"--config.workdir={tmp_path / name}"]
        command += ["--config.train.steps=300", "--config.train.checkpoint_every=10"]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    finish(launch("calm"), timeout=1800)
    torn = outlive(lambda: launch("rough"), tmp_path / "rough", kills=30, ends=5, rng=random.Random(0), longest=60)
    print(f"30 kills, {torn} of them left a half-written checkpoint")
    assert torn > 3
    same_end(tmp_path / "rough", tmp_path / "calm")
