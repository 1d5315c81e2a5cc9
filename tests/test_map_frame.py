"""Maps know their frame: text in a PNG, a row beside other files, and what is not to be believed."""

import json

import cv2
import numpy as np
import pytest

from pimjax.data.map_frame import Frame, frame_of, png_text, with_text
from pimjax.files import write_bytes

TURNED = Frame("upright", 6)


def png(*shape, dtype=np.uint8):
    return cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, shape).astype(dtype))[1].tobytes()


@pytest.mark.parametrize("encoded", [png(7, 9), png(7, 9, dtype=np.uint16), png(7, 9, 3)])
def test_text_leaves_pixels_as_they_are(encoded, tmp_path):
    marked = with_text(encoded, TURNED.text())
    assert png_text(marked) == {"pimjax:frame": "upright", "pimjax:orientation": "6"} and png_text(encoded) == {}
    np.testing.assert_array_equal(
        *(cv2.imdecode(np.frombuffer(e, np.uint8), cv2.IMREAD_UNCHANGED) for e in (encoded, marked))
    )
    (tmp_path / "map.png").write_bytes(marked)
    assert frame_of(tmp_path / "map.png") == TURNED


def test_damaged_text_is_no_text(tmp_path):
    marked = with_text(png(7, 9), TURNED.text())
    for end in range(len(marked)):
        assert png_text(marked[:end]) in ({}, {"pimjax:frame": "upright"}, TURNED.text())
    flipped = marked.replace(b"upright", b"storedt")
    assert "pimjax:frame" not in png_text(flipped)
    for text in ({"pimjax:frame": "upright"}, {"pimjax:frame": "?", "pimjax:orientation": "1"}):
        (tmp_path / "map.png").write_bytes(with_text(png(7, 9), text))
        assert frame_of(tmp_path / "map.png") is None
    assert png_text(b"") == png_text(b"GIF89a") == {}


def test_rows_speak_for_the_files_they_name(tmp_path):
    write_bytes(tmp_path / "deep/a.npy", b"map")
    (tmp_path / "deep/b.npy").write_bytes(b"another's")
    row = {"path": "/a.jpg", "frame": "upright", "orientation": 6, "files": {"npy": "deep/a.npy"}}
    rows = tmp_path / "predictions-1-of-2.jsonl"
    rows.write_text(json.dumps(row) + "\n")
    assert frame_of(tmp_path / "deep/a.npy") == TURNED
    assert frame_of(tmp_path / "deep/b.npy") is None
    (tmp_path / "deep/a.npy").write_bytes(b"changed by hand")
    assert frame_of(tmp_path / "deep/a.npy") is None


@pytest.mark.parametrize("row", ["text", {}, {"files": ["a.npy"]}, {"orientation": 9}, {"orientation": []}, None])
def test_rows_of_another_kind_say_nothing(row, tmp_path):
    (tmp_path / "a.npy").write_bytes(b"map")
    if isinstance(row, dict):
        row = {"path": "/a.jpg", "files": {"npy": "a.npy"}, "frame": "upright", "orientation": 6} | row if row else {}
    (tmp_path / "predictions.jsonl").write_text((json.dumps(row) if row is not None else "[" * 100_000) + "\n")
    (tmp_path / "predictions-gone.jsonl").symlink_to("nowhere")
    assert frame_of(tmp_path / "a.npy") is None
