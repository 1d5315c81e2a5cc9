"""The local page: what it says of a file, and what it shows. (Driven in a browser by hand; see the README.)"""

import json
import tempfile
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from pimjax.data.images import ImageError, write_png
from pimjax.inference import app
from pimjax.inference.localizer import Localization
from pimjax.inference.meaning import meaning_of_score, measured_scores
from pimjax.weights.card import ModelCard

SCORES = {"authentic": [0.1, 0.2, 0.3, 0.9], "manipulated": [0.4, 0.8, 0.95, 0.99, 1.0], "sets": "two sets"}


class Red:
    """A localizer that takes red for manipulated."""

    hash, card = "0" * 64, ModelCard(provenance={"scores": SCORES})

    def localize(self, photos, details=False, orientations=()):
        red = photos[0][..., 0] / np.float32(255)
        return [Localization(photos[0], red, red, float(red.max()), 1 - red if details else None)]


@pytest.fixture
def photo(tmp_path):
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:20, 30:70, 0] = 160
    image[40:50, 30:70, 0] = 240
    write_png(tmp_path / "shot.png", image)
    return str(tmp_path / "shot.png")


def test_a_photo_is_shown_with_its_score_and_files(photo):
    analyse = app._analyse(Red(), tempfile.TemporaryDirectory())
    shown, message = analyse(photo, None)
    assert not message
    text, downloads = app._figures(shown, 0.5)
    assert "Score 0.94**, 16.7% of the pixels above 0.50" in text
    assert "0% of 4 authentic photos and 60% of 5 manipulated" in text
    assert {path.name for path in shown.folder.glob("[!.]*")} == {"shot_probability.png", "shot_mask.png", "shot.json"}
    assert len(downloads.value) == 3
    views = {view: app._picture(shown, view, 0.6, 0.5) for view in app.VIEWS}
    assert views["Photo"][15, 50, 0] == 160 and views["Probability"][15, 50].tolist() == [160] * 3
    assert views["Boundary"][15, 50].tolist() == [95] * 3
    assert app._picture(shown, "Heat map", 0.0, 1.0).tolist() == views["Photo"].tolist()
    # The threshold moves outline, text and files, all alike.
    assert (app._picture(shown, "Heat map", 0.6, 0.8) != views["Heat map"]).any()
    assert "8.3% of the pixels above 0.80" in app._figures(shown, 0.8)[0]
    mask = cv2.imread(str(shown.folder / "shot_mask.png"), cv2.IMREAD_UNCHANGED)
    assert (mask == 255).mean() == pytest.approx(400 / 4800)
    figures = json.loads((shown.folder / "shot.json").read_text())
    assert figures["threshold"] == 0.8 and figures["area"] == pytest.approx(400 / 4800, abs=1e-6)
    assert [box["y"] for box in figures["boxes"]] == [40]
    # Nothing is left behind of it when the next photo comes.
    analyse(None, shown)
    assert not shown.folder.exists()
    # Nor of the last one, when the page is gone.
    left = analyse(photo, None)[0].folder
    assert left.exists()
    del analyse
    assert not left.parent.exists()


@pytest.mark.parametrize("what", ["text", "bytes", "pixels"])
def test_a_bad_file_gets_one_clear_message(what, photo, tmp_path, monkeypatch):
    path = tmp_path / "notes.jpg"
    path.write_text("no photo") if what == "text" else path.write_bytes(Path(photo).read_bytes())
    expected = {
        "text": "notes.jpg: damaged, or not an image (JPEG, PNG, TIFF, BMP or WebP)",
        "bytes": "notes.jpg: larger than 0 MB; use pimjax predict",
        "pixels": "notes.jpg: 80×60 is more than 0 million pixels; use pimjax predict",
    }[what]
    monkeypatch.setattr(app, "MOST_BYTES", 100 if what == "bytes" else 10**6)
    monkeypatch.setattr(app, "MOST_PIXELS", 100 if what == "pixels" else 10**6)
    shown, message = app._analyse(Red(), tempfile.TemporaryDirectory())(str(path), None)
    assert shown is None and message.startswith("**This file cannot be used.** " + expected)
    assert str(tmp_path) not in message
    with pytest.raises(ImageError):
        app.read_upload(path)


def test_the_page_is_served_on_this_computer_alone(photo):
    page = app.serve(Red(), port=0, block=False)
    try:
        assert page.local_url.startswith("http://127.0.0.1:")
        assert b"pimjax" in urllib.request.urlopen(page.local_url).read()
    finally:
        page.close()


def test_scores_that_nobody_measured_mean_nothing():
    assert "not been measured" in meaning_of_score(0.5, ModelCard())


def test_scores_come_from_an_evaluation_of_the_same_model(tmp_path):
    for name, rows in (("forged", [(True, 0.9), (True, 0.4)]), ("real", [(False, 0.3)])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "about.json").write_text(json.dumps({"sha256": "abc"}))
        lines = [{"number": i, "manipulated": m, "image.max": s} for i, (m, s) in enumerate(rows)]
        (folder / "images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = measured_scores(tmp_path, "abc")
    assert scores == {"authentic": [0.3], "manipulated": [0.4, 0.9], "sets": "forged, real"}
    assert "0% of 1 authentic photos and 50% of 2 manipulated" in meaning_of_score(
        0.5, ModelCard(provenance={"scores": scores})
    )
    with pytest.raises(ValueError, match="not scores of this model"):
        measured_scores(tmp_path, "other")
    (tmp_path / "real/images.jsonl").unlink()
    with pytest.raises(ValueError, match="no authentic images"):
        measured_scores(tmp_path, "abc")


def test_examples_hold_what_their_names_say(tmp_path):
    files = [Path(file) for file in app.example_photos(tmp_path)]
    assert [file.stem for file in files] == ["splicing", "copy_move", "removal", "authentic"]
    assert all(cv2.imread(str(file)).shape[2] == 3 for file in files)
