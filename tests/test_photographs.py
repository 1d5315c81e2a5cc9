"""What `pim-small` was trained on can be prepared by a stranger, and its configuration runs from there."""

import csv
import errno
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from pimjax.cli import main
from pimjax.config_files import read_config
from pimjax.data.datasets.bsds500 import IN_CASIA_V1
from pimjax.data.datasets.catalogue import BUILDERS, PHOTOGRAPHS
from pimjax.data.datasets.origins import ORIGINS
from pimjax.data.named_sources import open_source
from pimjax.training.setup import _open_sources

ROOT = Path(__file__).parent.parent


def photograph(seed, height, width):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def bsds(tmp_path):
    """BSDS500 in miniature, with one photograph that CASIA v1 has."""
    data = tmp_path / "BSR/BSDS500/data"
    for number, (split, name) in enumerate(
        (("train", "12003"), ("val", "101085"), ("test", "2018"), ("test", "17067"))
    ):
        for kind in ("images", "groundTruth"):
            (data / kind / split).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(data / "images" / split / f"{name}.jpg"), photograph(number, 32, 48))
        labels = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) // (
            400 if number else 2
        )  # of many segments, 16 bits
        people = np.empty((1, 2), object)
        people[0, 0] = {"Segmentation": labels + 1, "Boundaries": labels > 0}
        people[0, 1] = {"Segmentation": labels * 0 + 1, "Boundaries": labels > 9}
        savemat(data / "groundTruth" / split / f"{name}.mat", {"groundTruth": people}, do_compression=True)
    (data / "images/train/Thumbs.db").write_bytes(b"litter")
    (data / "images/train/._12003.jpg").write_bytes(b"litter")
    return tmp_path


def test_bsds500_becomes_photographs_with_label_maps(bsds, monkeypatch, capsys):
    monkeypatch.chdir(bsds)
    for folder in ("BSR/..", "BSR", "BSR/BSDS500", "BSR/BSDS500/data"):  # also again, over its own files
        assert main(["prepare-data", "bsds500", "--from", folder]) == 0
        assert "to read it: csv:data/bsds500.csv" in capsys.readouterr().out
    rows = list(csv.DictReader((bsds / "data/bsds500.csv").open()))
    assert [(Path(row["image"]).stem, row["split"]) for row in rows] == [
        ("12003", "train"),
        ("101085", "val"),
        ("2018", "test"),
    ]
    assert "17067" in IN_CASIA_V1
    source = open_source("csv:data/bsds500.csv")
    expected = np.arange(32 * 48).reshape(32, 48)
    for example, divisor in zip(source, (2, 400, 400), strict=False):
        np.testing.assert_array_equal(example["segments"], expected // divisor + 1)
        assert not example["mask"].any()


def test_other_folders_and_damaged_files_are_told(bsds, tmp_path, capsys):
    command = ["prepare-data", "bsds500", "--to", str(tmp_path / "to"), "--from"]
    mat = bsds / "BSR/BSDS500/data/groundTruth/val/101085.mat"
    content = mat.read_bytes()
    for change, message in (
        (lambda: mat.write_bytes(content[:200]), "101085.mat: damaged, or no segmentation of BSDS500"),
        (lambda: mat.write_bytes(b"x" * 300), "101085.mat: damaged, or no segmentation of BSDS500"),
        (lambda: savemat(mat, {"other": 1}), "101085.mat: damaged, or no segmentation of BSDS500"),
        (lambda: mat.unlink(), "101085.mat: no such file"),
    ):
        change()
        assert main([*command, str(bsds)]) == 1
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert main([*command, str(tmp_path / "to")]) == 1
    assert "not BSDS500 as it is distributed. Place the files so:" in capsys.readouterr().err


@pytest.fixture
def cameras(tmp_path):
    """Camera originals: one wide, one turned, and files that are none."""
    folder = tmp_path / "mei/jpg"
    folder.mkdir(parents=True)

    def write(name, width=1100, height=1000, model="C 1", software="", said=None, orientation=1):
        exif = Image.Exif()
        exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", model, orientation
        if software:
            exif[0x0131] = software
        if said:
            exif.get_ifd(0x8769).update({0xA002: said[0], 0xA003: said[1]})
        Image.fromarray(photograph(len(name), height, width)).save(folder / name, quality=90, exif=exif)

    write("a (1).jpg", said=(1100, 1000))
    write("a 1.JPG")
    write("wide.jpg", width=2100, height=960, orientation=6)
    write("small.jpg", width=640, height=480)
    write("edited.jpg", software="Adobe Photoshop CS3")
    write("scaled.jpg", said=(2200, 2000))
    write("nameless.jpg", model="")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "metadata").mkdir()
    (folder / "notes.txt").touch()
    return folder


def test_camera_originals_become_crops_on_the_grid_of_their_jpeg(cameras, tmp_path, capsys):
    assert main(["prepare-data", "camera-originals", "--from", str(cameras.parent), "--to", str(tmp_path / "to")]) == 0
    printed = capsys.readouterr().out
    for name in ("small", "edited", "scaled", "nameless", "broken"):
        assert f"left out: {name}.jpg: " in printed
    rows = list(csv.DictReader((tmp_path / "to/camera_originals.csv").open()))
    assert [Path(row["image"]).name for row in rows] == ["a_1_0.png", "a_1__0.png", "wide_0.png", "wide_1.png"]
    assert {row["camera"] for row in rows} == {"Maker C 1"}
    crop = cv2.imread(str(tmp_path / "to/camera_originals/a_1_0.png"))
    whole = cv2.imread(str(cameras / "a (1).jpg"), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(crop, whole[0:992, 32 : 32 + 1024])  # both multiples of 16, about the middle
    assert cv2.imread(str(tmp_path / "to/camera_originals/wide_1.png")).shape == (960, 1024, 3)
    assert len(open_source(f"csv:{tmp_path / 'to/camera_originals.csv'}")) == 4


def test_a_user_s_file_in_the_way_and_a_full_disk_are_told(cameras, tmp_path, monkeypatch, capsys):
    command = ["prepare-data", "camera-originals", "--from", str(cameras), "--to", str(tmp_path / "to")]
    for name in ("camera_originals.csv", "camera_originals/a_1_0.png"):
        file = tmp_path / "to" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
        assert main(command) == 1
        assert (
            f"{name}: exists and is not recorded as written by pimjax; move it away, or give another --to"
            in capsys.readouterr().err
        )
        assert file.read_text() == "mine"
        file.unlink()
    real = Path.write_bytes

    def full(path, content):
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main([*command[:-1], str(tmp_path / "other")]) == 1
    assert "a_1_0.png: cannot be written (No space left on device); make room" in capsys.readouterr().err


def test_prepare_data_lists_all_datasets_and_says_how_files_must_lie(capsys):
    assert ORIGINS.keys() == BUILDERS.keys() | PHOTOGRAPHS.keys()
    for arguments in ([], ["help"]):
        assert main(["prepare-data", *arguments]) == 0
        printed = capsys.readouterr().out
        assert all(f"  {name} " in printed for name in ORIGINS)
    for name, layout in (
        ("coverage", "mask/<n>forged.tif"),
        ("bsds500", "groundTruth/{train"),
        ("camera-originals", "jpg/*.jpg"),
        ("autosplice/jpeg75", "Forged_JPEG75/"),
    ):
        assert main(["prepare-data", name]) == 2
        printed = capsys.readouterr()
        assert layout in printed.out
        assert printed.err == f"error: give the folder with these files: pimjax prepare-data {name} --from DIR\n"
    assert main(["prepare-data", "nosuch"]) == 1
    assert "no such dataset; there are casia_v1, " in capsys.readouterr().err


def test_pim_small_reads_what_prepare_data_writes(bsds, cameras, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["prepare-data", "bsds500", "--from", str(bsds)])
    main(["prepare-data", "camera-originals", "--from", str(cameras)])
    Path("data/kodak").mkdir()
    cv2.imwrite("data/kodak/kodim01.png", photograph(77, 512, 768))
    config = read_config(ROOT / "configs/pim_small.py")
    sources, held_out = _open_sources(config)
    assert [len(source) for source in (*sources, *held_out)] == [3, 4, 1]
    assert "segments" in sources[0][0]
    for file in (ROOT / "configs").rglob("*.py"):
        assert "../" not in file.read_text(encoding="utf-8"), f"{file} names what only we have"
