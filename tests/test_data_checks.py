"""Planted faults are found and named, sound data is not accused, and previews show what training sees."""

import errno
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from pimjax.cli import main
from pimjax.config import DataConfig, ForgeryConfig, PidaConfig
from pimjax.data.images import write_png
from pimjax.data.pipeline import TrainTransform
from pimjax.data.registry import load_source
from pimjax.data_checks.checks import require_sound
from pimjax.data_checks.contact_sheets import preview_sheet
from pimjax.data_checks.facts import near_duplicates, perceptual_hash, read_facts

ROOT = Path(__file__).parent.parent
PHOTOGRAPHS = [load_source("installed:train")[i]["image"] for i in range(6)]
SPOTS = ((40, 60), (120, 30), (60, 120), (110, 110), (30, 30), (90, 70))


def write(folder, number, image, mask):
    cv2.imwrite(str(folder / f"{number}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    cv2.imwrite(str(folder / f"{number}.png"), mask)


@pytest.fixture
def folder(tmp_path):
    """Twelve spliced photographs of 240×200, each with a disc of another one, and their manifest."""
    for number in range(12):
        host = cv2.resize(PHOTOGRAPHS[number % 6], (240, 200), interpolation=cv2.INTER_AREA)
        if number >= 6:
            host = cv2.flip(host, 0)
        y, x = SPOTS[number % 6] if number < 6 else SPOTS[number % 6][::-1]
        mask = cv2.circle(np.zeros((200, 240), np.uint8), (x, y), 18 + number, 255, -1)
        other = 255 - cv2.resize(PHOTOGRAPHS[(number + 3) % 6], (240, 200), interpolation=cv2.INTER_AREA)
        write(tmp_path, number, np.where(mask[..., None] > 0, other, host), mask)
    rows = "".join(f"{number}.jpg,{number}.png\n" for number in range(12))
    (tmp_path / "list.csv").write_text("image,mask\n" + rows)
    return tmp_path


def check(folder, *arguments):
    """Exit status, and the findings by kind."""
    output = folder / "report"
    status = main(["check-data", f"csv:{folder / 'list.csv'}", "--output", str(output), *arguments])
    report = json.loads((output / "check.json").read_text(encoding="utf-8"))
    assert cv2.imread(str(output / "check.png")).shape[1] > 100
    return status, {finding["kind"]: finding for finding in report["findings"]}


def test_sound_data_may_be_trained_on(folder, capsys):
    status, findings = check(folder)
    assert status == 0
    assert not findings
    printed = capsys.readouterr().out
    assert "12: 12 manipulated, 0 authentic, 0 unusable" in printed
    assert "training may start" in printed
    require_sound(load_source(f"csv:{folder / 'list.csv'}"), 0.0)


def test_planted_faults_are_found_and_named(folder, capsys):
    read = lambda number: cv2.imread(str(folder / f"{number}.png"), cv2.IMREAD_UNCHANGED)  # noqa: E731
    save = lambda number, mask: cv2.imwrite(str(folder / f"{number}.png"), mask)  # noqa: E731
    save(0, 255 - read(0))
    first, second = read(1), read(2)
    save(1, second)
    save(2, first)
    save(3, read(3).T)
    save(4, cv2.resize(read(4), (120, 100), interpolation=cv2.INTER_NEAREST))
    jpeg = (folder / "5.jpg").read_bytes()
    (folder / "5.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    save(6, np.zeros_like(read(6)))
    cv2.imwrite(str(folder / "7.png"), cv2.imread(str(folder / "8.jpg"), 0))
    status, findings = check(folder, "--max-unreadable", "0.5")
    assert status == 0
    named = {kind: " ".join(finding["examples"]) for kind, finding in findings.items()}
    assert "0.jpg" in named["inverted"]
    assert "1.jpg: its mask fits" in named["swapped"]
    assert "2.jpg: its mask fits" in named["swapped"]
    assert "3.png: the mask is 200×240 pixels" in named["unusable"]
    assert "4.jpg" in named["scaled"]
    assert "5.jpg: damaged or cut off" in named["unusable"]
    assert "6.jpg" in named["empty"]
    assert "7.jpg" in named["gray"]
    # Two unusable ones of twelve are more than the default share.
    assert check(folder)[0] == 1
    assert "training must not start: unusable" in capsys.readouterr().out


def test_a_set_of_inverted_masks_is_refused(folder):
    for number in range(12):
        path = str(folder / f"{number}.png")
        cv2.imwrite(path, 255 - cv2.imread(path, cv2.IMREAD_UNCHANGED))
    status, findings = check(folder)
    assert status == 1
    assert findings["inverted"]["fatal"]
    with pytest.raises(ValueError, match=r"list\.csv: 12 of 12 examples looked at: .*invert this dataset's masks"):
        require_sound(load_source(f"csv:{folder / 'list.csv'}"), 0.0)


def test_pictures_in_two_sources_are_found_whatever_their_size_and_quality(folder):
    other = folder / "other"
    other.mkdir()
    copy = cv2.resize(cv2.imread(str(folder / "9.jpg")), (300, 250), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(other / "copy.jpg"), copy, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(other / "new.png"), load_source("installed:validation")[0]["image"])
    status, findings = check(folder, "--against", f"folder:{other}")
    assert status == 1
    (leak,) = findings["leak"]["examples"]
    assert leak.endswith("copy.jpg")
    assert "9.jpg =" in leak


def test_flat_pictures_are_no_copies_and_few_masks_no_verdict(tmp_path):
    for i in range(4):
        write(tmp_path, i, np.full((60, 80, 3), 60 * i, np.uint8), np.full((60, 80), 255, np.uint8))
    (tmp_path / "list.csv").write_text("".join(f"{i}.jpg,{i}.png\n" for i in range(4)))
    status, findings = check(tmp_path)
    assert status == 0
    assert findings.keys() == {"inverted"}


def test_segments_of_another_size_are_found_before_training(folder):
    cv2.imwrite(str(folder / "s.png"), np.zeros((50, 60), np.uint8))
    (folder / "list.csv").write_text("image,segments\n" + "".join(f"{i}.jpg,s.png\n" for i in range(12)))
    with pytest.raises(ValueError, match="12 of 12 examples looked at: cannot be used"):
        require_sound(load_source(f"csv:{folder / 'list.csv'}"), 0.05)


def test_a_mask_saved_as_jpeg_is_named(folder):
    cv2.imwrite(str(folder / "m.jpg"), cv2.imread(str(folder / "3.png"), 0))
    (folder / "list.csv").write_text("3.jpg,m.jpg\n")
    assert check(folder)[1].keys() == {"lossy"}


def test_copies_within_a_source_are_found(folder):
    (folder / "0.jpg").write_bytes((folder / "1.jpg").read_bytes())
    assert "0.jpg" in check(folder)[1]["duplicates"]["examples"][0]


def test_unlike_pictures_have_unlike_fingerprints():
    prints = [perceptual_hash(image) for image in PHOTOGRAPHS]
    assert [(i, j) for i, j in near_duplicates(prints, prints) if i != j] == []
    noisy = np.clip(PHOTOGRAPHS[0] + np.random.default_rng(0).normal(0, 8, PHOTOGRAPHS[0].shape), 0, 255)
    assert near_duplicates([perceptual_hash(noisy.astype(np.uint8))], prints) == [(0, 0)]


def test_facts_of_formats(tmp_path):
    from PIL import Image

    picture = Image.fromarray(PHOTOGRAPHS[0][:64, :80])
    picture.convert("CMYK").save(tmp_path / "a.jpg")
    picture.quantize(16).save(tmp_path / "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "c.jpg", exif=exif)
    cv2.imwrite(str(tmp_path / "d.png"), np.full((64, 80), 40000, np.uint16))
    source = load_source(f"folder:{tmp_path}")
    facts = [read_facts(source, index) for index in range(4)]
    assert [(fact.format, fact.mode) for fact in facts] == [
        ("JPEG", "CMYK"),
        ("PNG", "P"),
        ("JPEG", "RGB"),
        ("PNG", "I;16"),
    ]
    assert [fact.orientation for fact in facts] == [1, 1, 6, 1]
    assert [fact.bits for fact in facts] == [8, 4, 8, 16]
    assert all((fact.width, fact.height, fact.error) == (80, 64, "") for fact in facts)


def test_preview_shows_photograph_forgery_and_difference():
    sources = [load_source("installed:train")]
    config = PidaConfig(1.0, kinds=ForgeryConfig(1, 1, 1, 1))
    transform = TrainTransform(DataConfig(image_size=64, resize_mode="crop"), config)
    sheet = preview_sheet(sources, transform, seed=0, rows=3)
    np.testing.assert_array_equal(sheet, preview_sheet(sources, transform, seed=0, rows=3))
    assert sheet.shape[1] > 5 * 200
    still = preview_sheet(sources, TrainTransform(transform.data, PidaConfig(0.0)), seed=0, rows=3)
    # The third column, the difference: black but for its label where nothing is forged.
    column = (slice(60, 220), slice(6 + 2 * 206, 6 + 2 * 206 + 200))
    assert (still[column] == 0).all()
    assert (sheet[column] > 0).any()


def test_the_command_previews_a_configuration(tmp_path):
    assert main(["preview-data", "configs/demo.py", "--rows", "2", "--output", str(tmp_path / "p.png")]) == 0
    assert cv2.imread(str(tmp_path / "p.png")).shape[0] > 400


@pytest.mark.parametrize("value", [100, 128, 200])
def test_masks_that_are_all_gray_forbid_training(value, tmp_path, capsys):
    lines = ["image,mask"]
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        write_png(tmp_path / f"{number}.png", pixels)
        mask = np.full((32, 32), value, np.uint8)
        mask[:4] = 255
        write_png(tmp_path / f"m{number}.png", mask)
        lines.append(f"{number}.png,m{number}.png")
    (tmp_path / "s.csv").write_text("\n".join(lines))
    assert main(["check-data", f"csv:{tmp_path / 's.csv'}", "--output", str(tmp_path / "check")]) == 1
    assert re.search("training must not start: .*gray", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["check.json", "check.png", "preview.png"])
def test_a_user_s_file_in_the_way_is_refused_before_the_work(name, folder, monkeypatch, capsys):
    def work(*arguments):
        raise AssertionError("it was begun")

    file = folder / name
    file.write_text("mine")
    monkeypatch.setattr("pimjax.data.registry.load_source", work)
    command = ["check-data", f"csv:{folder / 'list.csv'}", "--output", str(folder)]
    if name == "preview.png":
        command = ["preview-data", str(ROOT / "configs/demo.py"), "--output", str(file)]
    assert main(command) == 1
    assert f"{name}: exists and is not recorded as written by pimjax; move it away" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_check_replaces_its_own_files_and_tells_of_a_full_disk(folder, monkeypatch, capsys):
    for _ in range(2):
        assert check(folder)[0] == 0
    capsys.readouterr()
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: full(path))
    assert main(["check-data", f"csv:{folder / 'list.csv'}", "--output", str(folder / "new")]) == 1
    assert "check.json: cannot be written (No space left on device); make room" in capsys.readouterr().err


def full(path):
    raise OSError(errno.ENOSPC, "No space left on device")
