"""The README's commands, run as they stand, in a folder that holds what a reader would have."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request

import cv2
import pytest
from test_readme import ROOT, blocks

from pimjax.cli import main
from pimjax.data.images import write_png
from pimjax.data.registry import installed_source

# What takes minutes, wants a fresh environment, or stays until it is stopped, by how the command begins.
LONG = ("pip install", "pimjax serve", "python3 -m venv", "python train.py")


def lines():
    """The commands of README.md, one a line, without comments."""
    return [
        re.split(r"\s#", line)[0].strip()
        for block in blocks(ROOT / "README.md")
        for line in block.splitlines()
        if re.match(r"    (pip|pimjax|python|pytest)", line)
    ]


SHORT = [line for line in lines() if not line.startswith(LONG)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A folder with photo.jpg, tables of own images, maps of another program in DIR, and configs/demo.py."""
    folder = tmp_path_factory.mktemp("reader")
    photo = installed_source("train")[0]["image"][:192, :256]
    cv2.imwrite(str(folder / "photo.jpg"), photo[..., ::-1])
    mask = (photo[..., 0] > 128).astype("uint8") * 255
    for name in ("a", "b"):
        write_png(folder / f"{name}.png", photo)
        write_png(folder / f"DIR/{name}.png", mask)
    write_png(folder / "mask.png", mask)
    for table in ("mine.csv", "casia1.csv"):
        (folder / table).write_text("image,mask\na.png,mask.png\nb.png,\n")
    shutil.copytree(ROOT / "configs", folder / "configs")
    return folder


def test_there_are_short_and_long_commands_and_no_others():
    assert len(SHORT) == 7
    assert len(lines()) - len(SHORT) == 7


@pytest.mark.parametrize("line", SHORT)
def test_a_short_command_runs(line, reader, monkeypatch):
    """In the README's order: the report reads what evaluate and robustness wrote."""
    monkeypatch.chdir(reader)
    before = set(reader.rglob("*"))
    assert main(shlex.split(line)[1:]) in (0, 1 if "check-data" in line else 0)  # two equal pictures are a finding
    assert set(reader.rglob("*")) - before, "it wrote nothing"


@pytest.mark.slow
def test_a_fresh_environment_trains_the_demo_and_passes_the_tests(tmp_path):
    clone = tmp_path / "pimjax"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    demo, tests = (line for line in lines() if line.startswith("python3 -m venv"))
    out = subprocess.run(["bash", "-c", demo], cwd=clone, check=True, capture_output=True, text=True).stdout
    assert float(re.search(r"F1[^\n]*?(0\.\d+) \[", out)[1]) > 0.4
    subprocess.run(["bash", "-c", f"{tests} -m fast"], cwd=clone, check=True)


@pytest.mark.slow
def test_the_page_is_installed_and_serves(tmp_path):
    python = tmp_path / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path)], check=True)
    install = next(line for line in lines() if line.startswith("pip install"))
    subprocess.run([str(python), "-m", *shlex.split(install)], cwd=ROOT, check=True)
    page = subprocess.Popen([str(tmp_path / "bin/pimjax"), "serve", "--port", "7861"], cwd=tmp_path)
    try:
        for _ in range(120):
            time.sleep(1)
            try:
                assert b"pimjax" in urllib.request.urlopen("http://127.0.0.1:7861").read()
                break
            except OSError:
                assert page.poll() is None
        else:
            pytest.fail("no page within two minutes")
    finally:
        page.terminate()
        page.wait()


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in lines() if line.startswith("python train.py")])
def test_a_long_training_takes_a_step(line, reader, tmp_path):
    """The published network, data and number of steps are cut down: no machine at hand does them in an hour."""
    small = ["--config.model.embed_dim=8", "--config.model.decoder_channels=8", "--config.model.num_heads=(1,2,4,8)"]
    small = small if "configs/pim.py" in line else []
    sources = "('installed:train',)"
    words = [sys.executable, str(ROOT / "train.py"), *shlex.split(line)[2:], *small]
    words = [word for word in words if "num_steps" not in word and "data.train" not in word]
    words += ["--config.train.num_steps=1", "--config.train.validate_every=1", "--config.data.batch_size=2"]
    words += [f"--config.workdir={tmp_path}/run", f"--config.data.train={sources}", "--config.data.weights=()"]
    words += ["--config.data.validation=('installed:validation',)", "--config.data.validation_images=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(words, cwd=reader, check=True, env=environment)
    assert (tmp_path / "run/summary.json").exists()
