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
from pimjax.config.load import read_config
from pimjax.data.datasets.bsds500 import IN_CASIA_V1
from pimjax.data.datasets.camera_originals import cut, originals
from pimjax.data.datasets.catalog import BUILDERS, PHOTOGRAPHS
from pimjax.data.datasets.origins import ORIGINS
from pimjax.data.registry import load_source
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
    source = load_source("csv:data/bsds500.csv")
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
    """Some camera originals of the list, and files that are none."""
    folder = tmp_path / "mei/jpg"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: crops are of the pixels as stored
    for name, height, width in (
        ("Canon EOS 20D (1).jpg", 1000, 1100),
        ("Canon Powershot A2500.JPG", 2000, 3008),
        ("Nikon D90.jpg", 480, 640),
        ("Canon EOS 5D.jpg", 1100, 1100),  # edited, so not of the list
    ):
        Image.fromarray(photograph(len(name), height, width)).save(folder / name, "JPEG", quality=90, exif=exif)
    (folder / "Nexus 4.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "._Nikon D40.jpg").touch()
    (folder / "metadata").mkdir()
    (folder / "notes.txt").touch()
    return folder


@pytest.mark.parametrize("name", ["camera-originals", "camera_originals"])
def test_camera_originals_become_crops_on_the_grid_of_their_jpeg(name, cameras, tmp_path, capsys):
    assert main(["prepare-data", name, "--from", str(cameras.parent), "--to", str(tmp_path / "to")]) == 0
    printed = capsys.readouterr().out
    assert "camera-originals: 3 crops of 2 photographs" in printed
    for camera, why in (("Nikon D90", "640×480 pixels"), ("Nexus 4", "damaged"), ("Nikon D40", "not found")):
        assert f"left out: {camera}: {why}" in printed
    rows = list(csv.DictReader((tmp_path / "to/camera_originals.csv").open()))
    assert [Path(row["image"]).name for row in rows] == [
        "Canon_EOS_20D_1_0.png",
        "Canon_Powershot_A2500_0.png",
        "Canon_Powershot_A2500_1.png",
    ]
    assert rows[0]["camera"] == "Canon EOS 20D (1)"
    crop = cv2.imread(str(tmp_path / "to/camera_originals/Canon_EOS_20D_1_0.png"))
    whole = cv2.imread(str(cameras / "Canon EOS 20D (1).jpg"), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(crop, whole[0:992, 32 : 32 + 1024])  # both multiples of 16, about the middle
    assert cv2.imread(str(tmp_path / "to/camera_originals/Canon_Powershot_A2500_1.png")).shape == (1024, 1024, 3)
    assert len(load_source(f"csv:{tmp_path / 'to/camera_originals.csv'}")) == 3


def test_the_camera_originals_are_those_of_the_shipped_model():
    names = originals()
    assert len(names) == len(set(names)) == 112
    assert {"Apple iPhone 4", "Panasonic Lumix DMC-LX7", "Issue 354 (Java)", "Sony Mavica"} <= set(names)


@pytest.mark.parametrize(
    ("width", "height", "count"),
    # The first seven are sizes of photographs of the list, with the number of crops that pim-small was trained on.
    [
        *((2496, 1664, 1), (2048, 1536, 1), (3264, 1836, 1), (2816, 2112, 1), (3072, 2304, 2), (3008, 2000, 2)),
        *((1296, 968, 1), (2000, 3008, 2), (1024, 960, 1), (960, 2000, 1)),
    ],
)
def test_crops_do_not_overlap_and_start_on_the_grid(width, height, count):
    numbers = np.arange(height * width).reshape(height, width, 1)
    crops = cut(numbers, Path("x.jpg"))
    assert len(crops) == count
    assert all(place % 16 == 0 for crop in crops for place in divmod(int(crop[0, 0, 0]), width))
    assert len(np.unique(crops)) == sum(crop.size for crop in crops)
    assert {crop.shape[:2] for crop in crops} == {(min(height // 16 * 16, 1024), min(width // 16 * 16, 1024))}


def test_a_user_s_file_in_the_way_and_a_full_disk_are_told(cameras, tmp_path, monkeypatch, capsys):
    command = ["prepare-data", "camera-originals", "--from", str(cameras), "--to", str(tmp_path / "to")]
    for name in ("camera_originals.csv", "camera_originals/Canon_EOS_20D_1_0.png"):
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
    assert "Canon_EOS_20D_1_0.png: cannot be written (No space left on device); make room" in capsys.readouterr().err


def test_prepare_data_lists_all_datasets_and_says_how_files_must_lie(capsys):
    assert ORIGINS.keys() == BUILDERS.keys() | PHOTOGRAPHS.keys()
    for arguments in ([], ["help"]):
        assert main(["prepare-data", *arguments]) == 0
        printed = capsys.readouterr().out
        assert all(f"  {name} " in printed for name in ORIGINS)
    for name, layout in (
        ("coverage", "mask/<n>forged.tif"),
        ("bsds500", "groundTruth/{train"),
        ("camera-originals", "jpg/<camera>.jpg"),
        ("autosplice/jpeg75", "Forged_JPEG75/"),
    ):
        assert main(["prepare-data", name]) == 2
        printed = capsys.readouterr()
        assert layout in printed.out and ORIGINS[name.partition("/")[0]] in printed.out
        assert printed.err == f"error: give the folder with these files: pimjax prepare-data {name} --from DIR\n"
    for arguments in (["nosuch"], ["casia", "--from", "x"], ["bsds", "--from", "x"], ["casia_v3/a", "--from", "x"]):
        assert main(["prepare-data", *arguments]) == 1
        printed = capsys.readouterr()
        assert f"{arguments[0]!r}: no such dataset; there are casia_v1, " in printed.err
        assert all(f"  {name} " in printed.out and origin in printed.out for name, origin in ORIGINS.items())


def test_pim_small_reads_what_prepare_data_writes(bsds, cameras, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["prepare-data", "bsds500", "--from", str(bsds)])
    main(["prepare-data", "camera-originals", "--from", str(cameras)])
    Path("data/kodak").mkdir()
    cv2.imwrite("data/kodak/kodim01.png", photograph(77, 512, 768))
    config = read_config(ROOT / "configs/pim_small.py")
    sources, held_out = _open_sources(config)
    assert [len(source) for source in (*sources, *held_out)] == [3, 3, 1]
    assert "segments" in sources[0][0]
    for file in (ROOT / "configs").rglob("*.py"):
        assert "../" not in file.read_text(encoding="utf-8"), f"{file} names what only we have"
