"""Starts train.py as people do: real processes, each with simulated devices, on a small configuration."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from pimjax.config import Config, DataConfig, OptimizerConfig, PidaConfig, TrainConfig, tiny_model

ROOT = Path(__file__).parent.parent


def small_config(workdir) -> Config:
    """Every stream and stage that needs its own handling (BatchNorm, dropout), as quick to compile as may be."""
    return Config(
        workdir=str(workdir),
        model=tiny_model(
            depths=(1,),
            num_heads=(1,),
            pool_scales=(1, 2),
            global_stream=False,
            boundary_decoder=False,
            drop_path_rate=0.3,
        ),
        optimizer=OptimizerConfig(learning_rate=1e-3),
        pida=PidaConfig(probability=0.8),
        data=DataConfig(image_size=32, resize_mode="crop", batch_size=8, validation_images=6, num_workers=0),
        train=TrainConfig(num_steps=5, validate_every=5, log_every=1, checkpoint_every=100, sync_batch_norm=True),
    )


def start(workdir, *flags, devices=1, environment=None, prelude="") -> subprocess.Popen:
    """train.py on `small_config(workdir)`, changed by `flags`, after the code in `prelude`."""
    file = Path(workdir).parent / f"{Path(workdir).name}.py"
    file.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n{prelude}\n"
        f"from train_processes import small_config\n\n\ndef get_config():\n    return small_config({str(workdir)!r})\n"
    )
    surroundings = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--config", str(file), *flags],
        env=surroundings | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def start_two(workdir, *flags, devices=2) -> list[subprocess.Popen]:
    """Two processes of one run."""
    address = f"localhost:{free_port()}"
    return [
        start(workdir, f"--coordinator={address}", "--process_count=2", f"--process_index={i}", *flags, devices=devices)
        for i in range(2)
    ]


def finish(*processes, timeout=300) -> list[str]:
    """Waits for all; what they printed. All must succeed."""
    printed = [process.communicate(timeout=timeout)[0] for process in processes]
    for process, text in zip(processes, printed, strict=True):
        assert process.returncode == 0, text
    return printed


def logged(workdir, key="loss/total") -> dict[int, float]:
    """Step → value, of what was logged."""
    lines = map(json.loads, (Path(workdir) / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[key] for line in lines if key in line}


def wait_until(happened, *processes, seconds=240) -> None:
    """Waits for something that running processes do."""
    deadline = time.monotonic() + seconds
    while not happened():
        for process in processes:
            assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
