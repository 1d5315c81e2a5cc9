"""Maps as files: which is whose, how it lies on its photo, and what no map may do to the reader."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pimjax.cli import main
from pimjax.data.images import ImageError, turn_upright, write_png
from pimjax.data.map_frame import Frame, with_text
from pimjax.data.registry import load_source
from pimjax.evaluation.evaluate import evaluate
from pimjax.evaluation.map_files import read_map
from pimjax.evaluation.saved_maps import folder_predictor

CASE = Path(__file__).parent / "cases/B19_turned_180_evaluated"
SIDE = 48
TRUTH = np.zeros((SIDE, SIDE), np.uint8)
TRUTH[4:14, 8:36] = 255  # no turn or mirror leaves it where it is


@pytest.fixture
def photo(tmp_path):
    """Write a square photo that EXIF calls turned, and its mask; give the manifest."""

    def write(orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "7.png", exif=exif)
        write_png(tmp_path / "truth.png", TRUTH)
        (tmp_path / "set.csv").write_text("image,mask\n7.png,truth.png\n")
        return load_source(f"csv:{tmp_path / 'set.csv'}")

    return write


def write_map(folder, values, kind, frame=None):
    """Write a map of 0 … 1 of photo 7 as `kind`; `frame` is said as `pimjax predict` says it."""
    folder.mkdir(exist_ok=True)
    name = "7.npy" if kind == "npy" else "7_probability.png"
    if kind == "npy":
        np.save(folder / name, values)
    else:
        deep = np.rint(values * (65535 if kind == "16 bits" else 255)).astype(
            np.uint16 if kind == "16 bits" else np.uint8
        )
        encoded = cv2.imencode(".png", deep)[1].tobytes()
        (folder / name).write_bytes(with_text(encoded, frame.text()) if frame else encoded)
    if frame:
        row = {"path": str(folder.parent / "7.png"), "name": "7", "files": {"npy": name}, **frame._asdict()}
        (folder / "predictions.jsonl").write_text(json.dumps(row) + "\n")


def f1(source, folder, output, **options):
    rows, errors = evaluate(folder_predictor("maps", folder, source.ids(), **options), source, output, pictures=False)
    return (rows[0].scores["pim-fullsize.f1"] if rows else None), errors


@pytest.mark.parametrize("kind", ["npy", "8 bits", "16 bits"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_upright_map_is_turned_back_to_the_stored_pixels(orientation, kind, photo, tmp_path):
    source = photo(orientation)
    upright = turn_upright(TRUTH / np.float32(255), orientation)
    write_map(tmp_path / "maps", upright, kind, Frame("upright", orientation))
    assert f1(source, tmp_path / "maps", tmp_path / "out")[0] == pytest.approx(1)
    write_map(tmp_path / "stored", TRUTH / np.float32(255), kind, Frame("stored", orientation))
    assert f1(source, tmp_path / "stored", tmp_path / "out2")[0] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["npy", "8 bits", "16 bits"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_map_that_does_not_say_how_it_lies_is_not_compared_with_a_turned_photo(orientation, kind, photo, tmp_path):
    source = photo(orientation)
    write_map(tmp_path / "maps", turn_upright(TRUTH / np.float32(255), orientation), kind)
    score, errors = f1(source, tmp_path / "maps", tmp_path / "out")
    assert score is None and "7.png: maps failed" in errors[0] and "state --maps-frame stored, or upright" in errors[0]
    assert f1(source, tmp_path / "maps", tmp_path / "upright", frame="upright")[0] == pytest.approx(1)
    assert f1(source, tmp_path / "maps", tmp_path / "stored", frame="stored")[0] < 0.9


def test_a_map_of_a_photo_that_was_turned_otherwise_is_refused(photo, tmp_path):
    source = photo(3)
    write_map(tmp_path / "maps", turn_upright(TRUTH / np.float32(255), 6), "8 bits", Frame("upright", 6))
    _, errors = f1(source, tmp_path / "maps", tmp_path / "out", frame="upright")
    assert "made of a photo of EXIF orientation 6, the one to compare has 3" in errors[0]


def test_the_photo_of_the_case_is_scored_as_it_is_stored(tmp_path, capsys):
    """What predict writes of it, by hand: the truth, upright, with and without saying so."""
    truth = cv2.imread(str(CASE / "m.png"), cv2.IMREAD_GRAYSCALE) / np.float32(255)
    (tmp_path / "maps").mkdir()
    np.save(tmp_path / "maps/a.npy", turn_upright(truth, 3))
    command = ["evaluate", "--predictions", f"p={tmp_path / 'maps'}", "--source", f"csv:{CASE / 's.csv'}", "--output"]
    assert main([*command, str(tmp_path / "unknown")]) == 1
    assert "--maps-frame" in capsys.readouterr().err
    row = {"path": str(CASE / "a.jpg"), "name": "a", "files": {"npy": "a.npy"}, "frame": "upright", "orientation": 3}
    (tmp_path / "maps/predictions.jsonl").write_text(json.dumps(row) + "\n")
    assert main([*command, str(tmp_path / "said")]) == 0
    row = json.loads((tmp_path / "said/p/s/images.jsonl").read_text())
    assert row["pim-fullsize.f1"] == pytest.approx(1) and row["orientation"] == 3


@pytest.mark.parametrize(
    ("files", "used"),
    [
        (["7_probability.png", "7.npy", "7_mask.png", "7_overlay.png"], "7_probability.png"),
        (["7.npy", "7_mask.png", "7_boundary.png"], "7.npy"),
        (["7_mask.png", "7_reconstruction.png"], "7_mask.png"),
        (["7_overlay.png", "7_boundary.png"], None),
    ],
)
@pytest.mark.parametrize("rows", [False, True])
def test_what_predict_wrote_is_found(files, used, rows, photo, tmp_path):
    """The file that is used says 1, the others 0."""
    source, folder = photo(1), tmp_path / "maps"
    folder.mkdir()
    for file in files:
        map_ = np.full((SIDE, SIDE), float(file == used), np.float32)
        np.save(folder / file, map_) if file.endswith("npy") else write_png(folder / file, np.uint8(map_ * 255))
    if rows:  # and the photo has two names in the folder of results
        kinds = {("npy" if f.endswith("npy") else f[2:-4]): f for f in files}
        row = {"path": str(tmp_path / "7.png"), "name": "7", "files": kinds}
        lines = [
            '{"path": "/else/7.jpg", "name": "7", "files": {"probability": "../7.png", "npy": 3}}',
            json.dumps(row),
        ]
        (folder / "predictions.jsonl").write_text("\n".join([*lines, '{"path": "/x", "files": []}', ""]))
    predictor = folder_predictor("maps", folder, source.ids())
    example = {"id": source.ids()[0]}
    if used is None:
        with pytest.raises(ImageError, match="no map of it"):
            predictor.predict(example)
    else:
        assert (predictor.predict(example).map == 1).all()


def test_photos_that_differ_in_their_suffix_alone_keep_their_maps_apart(tmp_path):
    """Rows tell them, even where the photos have been moved since."""
    rows = []
    for name, suffix, value in (("7", ".jpg", 0.25), ("7-2", ".png", 0.75)):
        np.save(tmp_path / f"{name}.npy", np.full((4, 4), value))
        rows.append({"path": f"/elsewhere/7{suffix}", "name": name, "files": {"npy": f"{name}.npy"}})
    (tmp_path / "predictions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    ids = ["/data/7.png", "/data/7.jpg"]
    predictor = folder_predictor("maps", tmp_path, ids)
    assert [predictor.predict({"id": id_}).map[0, 0] for id_ in ids] == [0.75, 0.25]
    predictor = folder_predictor("maps", tmp_path, ["/elsewhere/7.png", "/elsewhere/7.jpg"])
    assert [predictor.predict({"id": f"/elsewhere/7{suffix}"}).map[0, 0] for suffix in (".png", ".jpg")] == [0.75, 0.25]
    with pytest.raises(ImageError, match="no map of it"):  # never another photo's
        folder_predictor("maps", tmp_path, []).predict({"id": "/data/7.webp"})


def test_the_truth_beside_an_image_is_no_map_of_it(photo, tmp_path):
    photo(1)
    shutil.copy(tmp_path / "truth.png", tmp_path / "7_mask.png")
    (tmp_path / "7.png").rename(tmp_path / "7.jpg")  # or it would be its own map
    (tmp_path / "set.csv").write_text("image,mask\n7.jpg,7_mask.png\n")
    source = load_source(f"csv:{tmp_path / 'set.csv'}")
    _, errors = f1(source, tmp_path, tmp_path / "out")
    assert "7_mask.png: it is the truth" in errors[0]


def npy_header(shape, dtype="<f8", version=b"\x01\x00"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header


def bomb(claimed):
    """A zip of one array that claims to be larger than anything."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("map.npy", npy_header(claimed) + bytes(1 << 20))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("fifo.npy", None),
        ("fifo.png", None),
        ("fifo.npz", None),
        ("claims.npy", npy_header((40_000, 40_000))),
        ("short.npy", npy_header((4_000, 4_000)) + bytes(100)),
        ("negative.npy", npy_header((-4, 4)) + bytes(100)),
        ("third.npy", npy_header((4, 4), version=b"\x03\x00") + bytes(128)),
        ("objects.npy", npy_header((4, 4), "|O") + bytes(128)),
        ("bomb.npz", bomb((40_000, 40_000))),
        ("more.npz", bomb((4_000, 4_000))),
        ("empty.npy", npy_header((0, 4))),
    ],
)
def test_no_map_hangs_or_fills_the_memory(name, content, tmp_path):
    file = tmp_path / name
    os.mkfifo(file) if content is None else file.write_bytes(content)
    with pytest.raises(ImageError, match=name):
        read_map(file)


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(ImageError, match=r"huge\.png: .*bytes"):
        read_map(tmp_path / "huge.png")
    assert np.array_equal(read_map(_saved(tmp_path / "fine.npy", np.eye(4))), np.eye(4))
    assert np.array_equal(
        read_map(_saved(tmp_path / "turned.npy", np.asfortranarray(np.eye(4)[:, :3]))), np.eye(4)[:, :3]
    )


def _saved(path, values):
    np.save(path, values)
    return path
