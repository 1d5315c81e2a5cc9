"""Runs of several real processes: the same numbers as one, and what happens when one of them ends."""

import re
import signal
import time

import numpy as np
import pytest
from train_processes import finish, free_port, logged, start, start_two, wait_until


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The directory of the run that one process with one device made."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    finish(start(workdir))
    return workdir


def same_losses(workdir, other, steps=5):
    losses, expected = logged(workdir), logged(other)
    first = range(1, steps + 1)
    np.testing.assert_allclose([losses[i] for i in first], [expected[i] for i in first], rtol=1e-5)


def same_run(workdir, other):
    """Losses to rounding, scores exactly."""
    same_losses(workdir, other)
    assert sorted(logged(workdir)) == [1, 2, 3, 4, 5]
    assert logged(workdir, "validation/f1") == logged(other, "validation/f1")
    assert (workdir / "summary.json").read_text() == (other / "summary.json").read_text()


def start_as_slurm(workdir, *flags):
    """With the environment that srun gives two tasks on this host."""
    job = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    tasks = [job | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i), "SLURM_STEP_NUM_NODES": "1"} for i in range(2)]
    return [start(workdir, "--distributed", *flags, devices=2, environment=task) for task in tasks]


@pytest.mark.parametrize(
    ("launch", "mapping", "shard"),
    [(start_as_slurm, "shard_map", True), pytest.param(start_two, "pmap", False, marks=pytest.mark.slow)],
)
def test_two_processes_do_what_one_does(alone, tmp_path, launch, mapping, shard):
    """Two processes of two devices with two images each, against one device with eight."""
    flags = [f"--config.train.mapping={mapping}", f"--config.train.shard_optimizer={shard}"]
    printed = finish(*launch(tmp_path / "run", *flags))
    same_run(tmp_path / "run", alone)
    assert "4 × cpu in 2 processes" in printed[0]
    assert "validation" not in printed[1]  # the first alone tells


def wait_for_step(workdir, step, *processes):
    metrics = workdir / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") >= step, *processes)


def test_sigterm_saves_and_any_number_of_processes_resumes(alone, tmp_path):
    """One of two is asked to end; both save the same step and end with status 0. One process goes on."""
    workdir = tmp_path / "run"
    processes = start_two(workdir, "--config.train.num_steps=100000")
    wait_for_step(workdir, 1, *processes)
    processes[1].send_signal(signal.SIGTERM)
    asked = time.monotonic()
    printed = finish(*processes)
    assert time.monotonic() - asked < 30
    stopped = int(re.search(r"asked to end: checkpoint of step (\d+) saved", printed[0]).group(1))
    steps = max(5, stopped + 1)
    printed = finish(start(workdir, "--config.data.num_workers=1", f"--config.train.num_steps={steps}"))
    assert f"from step {stopped}" in printed[0]
    assert sorted(logged(workdir)) == list(range(1, steps + 1))
    same_losses(workdir, alone)


@pytest.mark.slow
def test_a_dead_process_ends_the_others_and_both_resume(alone, tmp_path):
    workdir = tmp_path / "run"
    flags = ["--config.train.checkpoint_every=1"]
    first, second = start_two(workdir, *flags, "--config.train.num_steps=100000")
    wait_for_step(workdir, 3, first, second)
    second.kill()
    died = time.monotonic()
    text, _ = first.communicate(timeout=120)
    assert time.monotonic() - died < 120
    assert first.returncode != 0
    # Ours where a collective fails, JAX's where the heartbeat is missed.
    assert "another process of this run has ended" in text or "another task died" in text
    reached = max(logged(workdir))
    printed = finish(*start_two(workdir, *flags, f"--config.train.num_steps={reached + 2}"))
    assert re.search(rf"from step ({reached - 2}|{reached - 1}|{reached})\b", printed[0])
    assert sorted(logged(workdir)) == list(range(1, reached + 3))
    same_losses(workdir, alone, steps=3)
