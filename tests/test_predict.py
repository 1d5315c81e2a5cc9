"""`pimjax predict` around the network: which photos, what is written of each, what is done again."""

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from red import Red

from pimjax import PIM, Localizer
from pimjax.cli import main
from pimjax.config import tiny_model
from pimjax.config.load import read_config
from pimjax.data.images import ImageError, write_png
from pimjax.data.perturb import compress
from pimjax.data.registry import load_source
from pimjax.files import RECORD, lock_file, printable
from pimjax.inference.inputs import Photo, find_photos, read_list, shard
from pimjax.inference.localizer import GRAIN, OVERLAP, TILE, Localization
from pimjax.inference.outputs import measure, write_outputs
from pimjax.inference.predict import BatchPredictor, OutputOptions
from pimjax.inference.rows import known_names, named_files, read_results
from pimjax.inference.tiles import tile_places
from pimjax.metrics.conventions import roc_auc, score
from pimjax.visualize import overlay
from pimjax.weights.bundled import BUNDLED, weights_path
from pimjax.weights.card import ModelCard

RNG = np.random.default_rng(0)


@pytest.fixture
def shots(tmp_path):
    """shots/a.png … shots/deep/e.png, one of them broken, one no image."""
    for number, name in enumerate(("a", "b", "deep/a", "deep/e")):
        photo = RNG.integers(0, 120, (20 + number, 30, 3), np.uint8)
        photo[4:8, 6:16, 0] = 250
        write_png(tmp_path / f"shots/{name}.png", photo)
    (tmp_path / "shots/c.jpg").write_text("no photo")
    (tmp_path / "shots/notes.txt").write_text("no photo either")
    return tmp_path / "shots"


def names(photos):
    return [photo.name for photo in photos]


def test_what_files_folders_patterns_and_standard_input_mean(shots, monkeypatch):
    assert names(find_photos([str(shots)])) == ["a", "b", "c", "deep/a", "deep/e"]
    assert names(find_photos([str(shots / "**/*.png")])) == ["a", "b", "deep/a", "deep/e"]
    assert names(find_photos([str(shots / "deep/a.png"), str(shots)])) == ["a", "a-2", "b", "c", "deep/e"]
    assert names(find_photos(["/nowhere/x.png"])) == ["x"]  # which is said when it is read
    encoded = (shots / "a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(encoded)))
    (photo,) = find_photos(["-"])
    assert photo.read() == encoded
    # What holds no image is said when it is read, and stops nothing else.
    (shots / "empty").mkdir()
    for empty in (str(shots / "*.gif"), str(shots / "empty"), str(shots / "gone [2].png")):
        photo, other = find_photos([empty, str(shots / "a.png")])
        with pytest.raises(ImageError, match="no image there"):
            photo.read()
        assert other.read() == encoded


def test_results_keep_the_names_they_have(shots, monkeypatch):
    known = {str(shots / "deep/a.png"): "a"}
    assert names(find_photos([str(shots)], known)) == ["a-2", "b", "c", "a", "deep/e"]
    # From wherever they are asked for.
    monkeypatch.chdir(shots / "deep")
    assert names(find_photos(["a.png", "../a.png", str(shots / "a.png")], known)) == ["a", "a-2"]


def test_long_names_leave_room_for_what_is_added(shots):
    long = shots / ("é" * 124 + ".png")
    write_png(long, np.zeros((9, 9, 3), np.uint8))
    rows = predict(shots, shots.parent / "out", outputs=("probability", "reconstruction"))
    assert [row["name"] for row in rows if row["photo"] == str(long)] == ["é" * 100]


def test_results_are_no_photos(shots, tmp_path):
    (tmp_path / "found").mkdir()
    for name in ("rest", "a_overlay", "a_mask"):
        write_png(shots / f"found/{name}.png", np.zeros((9, 9, 3), np.uint8))
    (shots / "found" / RECORD).unlink()  # an older version wrote them, and its rows name one
    write_png(shots / "found/b_mask.png", np.zeros((9, 9, 3), np.uint8))
    (shots / "found/.b_mask.pimjax-partial.png").write_bytes((shots / "found/rest.png").read_bytes())
    named = [str(shots / "found/a_mask.png")]
    for pattern, output, expected in (
        (shots, shots / "found", ["a", "b", "c", "deep/a", "deep/e"]),
        (shots / "**/*.png", shots / "found", ["a", "b", "deep/a", "deep/e"]),
        # Asked for themselves: what no row and no record names is a photo, whatever it is called.
        (shots / "found", shots / "found", ["a_overlay", "rest"]),
        (shots / "found/*.png", shots / "found", ["a_overlay", "rest"]),
        # Another folder's.
        (shots / "found", tmp_path / "found", ["a_mask", "a_overlay", "b_mask", "rest"]),
    ):
        assert sorted(names(find_photos([str(pattern)], {}, output, named))) == expected


def test_shards_share_the_photos_out(shots):
    photos = [Photo(f"shots/{number}.png", str(number), f"{number}.png") for number in range(300)]
    parts = [shard(photos, i, 3) for i in (1, 2, 3)]
    assert sorted(photo for part in parts for photo in part) == sorted(photos)
    assert min(len(part) for part in parts) > 70
    # What is added changes nobody's part.
    fewer = [shard(photos[::2], i, 3) for i in (1, 2, 3)]
    assert all(set(some) <= set(part) for some, part in zip(fewer, parts, strict=True))
    # On every machine alike, wherever the folder is.
    assert [photo._replace(path=f"/data/{photo.path}") for photo in parts[1]] == shard(
        [photo._replace(path=f"/data/{photo.path}") for photo in photos], 2, 3
    )


def test_photos_of_one_name_are_told_apart():
    photos = find_photos(["/d/0/image-2.jpg", *(f"/d/{number}/image.jpg" for number in range(3))])
    assert names(photos) == ["image-2", "image", "image-3", "image-4"]


def predict(shots, output, localizer=None, **settings):
    file = output / "predictions.jsonl"
    rows = read_results(output)
    photos = find_photos([str(shots)], known_names(rows, output), output, named_files(rows, output))
    return list(BatchPredictor(localizer or Red(), "red", photos, output, file, rows, OutputOptions(**settings)).run())


@pytest.fixture
def command(shots, monkeypatch, capsys):
    """`pimjax predict` with `Red`, in the folder of `shots`: its arguments → names of the photos it looked at."""
    monkeypatch.setattr(Localizer, "load", lambda *arguments: Red())
    monkeypatch.chdir(shots)

    def run(*arguments):
        assert main(["predict", *arguments]) in (0, 1)
        return sorted(line.split("\t")[2] for line in capsys.readouterr().out.splitlines()[1:])

    return run


def test_the_same_command_goes_on(command, shots):
    assert command(".") == ["a.png", "b.png", "deep/a.png", "deep/e.png"]
    assert command(".") == command(str(shots)) == command("deep/*.png", "gone/*.png") == []
    assert command(".", "--output", ".") == ["a.png", "b.png", "deep/a.png", "deep/e.png"]
    assert command(".", "--output", ".", "--write", "mask") == ["a.png", "b.png", "deep/a.png", "deep/e.png"]
    assert command(".", "--output", ".", "--write", "mask") == []


def test_what_other_shards_have_done_is_not_done_again(command, shots):
    assert len(command(".")) == 4
    more = ("--threshold", "0.7")
    parts = [command(".", *more, "--shard", f"{i}/2") for i in (1, 2)]
    assert sorted(parts[0] + parts[1]) == ["a.png", "b.png", "deep/a.png", "deep/e.png"]
    write_png(shots / "0.png", np.zeros((9, 9, 3), np.uint8))  # before all others
    assert sorted(command(".", *more, "--shard", "1/2") + command(".", *more, "--shard", "2/2")) == ["0.png"]
    assert command(".", *more) == command(".", *more, "--shard", "2/3") == []
    rows = shots / "predictions/predictions.jsonl"  # what the first run had is out of date, and stands nowhere any more
    assert [json.loads(line)["photo"] for line in rows.read_text().splitlines()] == ["c.jpg"]


def test_a_folder_is_gone_through_once(shots, tmp_path):
    out = tmp_path / "out"
    rows = predict(shots, out)
    assert [Path(row["photo"]).name for row in rows] == ["a.png", "b.png", "c.jpg", "a.png", "e.png"]
    assert "c.jpg: damaged" in rows[2]["error"]
    assert rows == [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert (out / "deep/e_overlay.png").exists()
    for row in (*rows[:2], *rows[3:]):
        assert row["boxes"][0] | {"score": 0} == {"x": 6, "y": 4, "width": 10, "height": 4, "pixels": 40, "score": 0}
    # Again: only the broken one is tried.
    assert [row["photo"] for row in predict(shots, out)] == [str(shots / "c.jpg")]
    # What is missing, changed, or asked for otherwise is made anew; a line that a kill cut off as well.
    (out / "a_overlay.png").unlink()
    write_png(shots / "b.png", np.zeros((9, 9, 3), np.uint8))
    file = out / "predictions.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    assert str(shots / "deep/e.png") in lines[3]
    lines[3] = lines[3][:40]  # deep/e
    file.write_text("".join(lines[:3] + lines[4:] + [lines[3]]))
    again = [row["photo"].removeprefix(str(shots)) for row in predict(shots, out)]
    assert again == ["/a.png", "/b.png", "/c.jpg", "/deep/e.png"]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["photo"] for row in rows}) == len(rows) == 5
    assert len(predict(shots, out, threshold=0.25)) == 5
    for attribute in ("hash", "precision"):
        other = Red()
        setattr(other, attribute, "another")
        assert len(predict(shots, out, other, threshold=0.25)) == 5


def test_photos_go_through_the_device_together_and_in_order(shots, tmp_path):
    localizer = Red()
    predict(shots, tmp_path / "out", localizer)
    assert localizer.seen == [4]  # one is broken
    localizer = Red()
    localizer.batch = 1
    predict(shots, tmp_path / "one", localizer)
    assert localizer.seen == [1, 1, 1, 1]


def test_a_full_disk_keeps_what_was_done(shots, tmp_path, monkeypatch):
    def full(*arguments):
        if "deep" in str(arguments[1]):
            raise OSError(28, "No space left on device")
        return write_outputs(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("pimjax.inference.predict.write_outputs", full)
        with pytest.raises(OSError, match="No space left"):
            predict(shots, tmp_path / "out")
    assert [row["photo"].removeprefix(str(shots)) for row in predict(shots, tmp_path / "out")] == [
        "/c.jpg",
        "/deep/a.png",
        "/deep/e.png",
    ]


def test_figures_of_a_map():
    probability = np.zeros((40, 60), np.float32)
    probability[5:10, 10:30] = 0.75
    probability[20:36, 40:60] = 0.9
    probability[39, 0] = 0.5  # not above the threshold
    figures = measure(probability, 0.9, 0.5)
    assert figures["area"] == pytest.approx(420 / 2400) and (figures["width"], figures["height"]) == (60, 40)
    assert [box["score"] for box in figures["boxes"]] == [0.9, 0.75] and figures["regions"] == 2
    assert figures["boxes"][0] == {"x": 40, "y": 20, "width": 20, "height": 16, "pixels": 320, "score": 0.9}
    json.dumps(figures)


def test_files_hold_what_they_say(tmp_path):
    probability = RNG.random((30, 41)).astype(np.float32)
    photo = RNG.integers(0, 255, (30, 41, 3), np.uint8)
    result = Localization(photo, probability, probability, 1.0)
    outputs = ("probability", "mask", "npy", "overlay", "boundary")
    files = write_outputs(result, tmp_path / "x/shot.v2", outputs, 0.3, bits=16)
    assert files.keys() == {"probability", "mask", "npy", "overlay"}  # this model has no boundary
    assert Path(files["npy"]).name == "shot.v2.npy" and Path(files["mask"]).name == "shot.v2_mask.png"
    read = cv2.imread(files["probability"], cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint16
    np.testing.assert_allclose(read / 65535, probability, atol=1e-5)
    np.testing.assert_array_equal(cv2.imread(files["mask"], 0), np.where(probability > 0.3, 255, 0))
    np.testing.assert_array_equal(np.load(files["npy"]), probability)
    np.testing.assert_array_equal(cv2.imread(files["overlay"])[..., ::-1], overlay(photo, probability, 0.3))
    write_outputs(result, tmp_path / "x/shot.v2", ("probability",), 0.3, bits=8)
    assert cv2.imread(files["probability"], cv2.IMREAD_UNCHANGED).dtype == np.uint8


def test_names_that_are_no_text_are_found_and_printed(shots):
    odd = os.fsencode(shots) + b"/caf\xe9.png"
    os.rename(shots / "a.png", odd)
    listing = shots / "list.txt"
    listing.write_bytes(odd + b"\n")
    (photo,) = find_photos(read_list(listing))
    assert photo.read()[:4] == b"\x89PNG"
    assert printable(photo.path).endswith(r"caf\udce9.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give photos, folders or patterns, or --list"),
        (["x.png", "--shard", "3/2"], "I/N with 1 ≤ I ≤ N"),
        (["x.png", "--threshold", "1.5"], "must lie in 0 … 1"),
        (["x.png", "--batch", "-1"], "must be 0, for the default, or more"),
    ],
)
def test_wrong_arguments_are_one_clear_line(arguments, message, tmp_path, capsys):
    try:
        status = main(["predict", "--output", str(tmp_path), *arguments])
    except SystemExit as stopped:
        status = stopped.code
    assert status
    assert message in capsys.readouterr().err


def test_two_commands_do_not_write_into_one_file(tmp_path, capsys):
    with lock_file(tmp_path / ".predictions.lock", ""):
        assert main(["predict", "x.png", "--output", str(tmp_path)]) == 1
    assert "another pimjax predict is at work" in capsys.readouterr().err


def tiny_localizer(batch=1):
    config = tiny_model(depths=(1, 1), num_heads=(1, 2))
    variables = jax.jit(PIM(config).init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    card = ModelCard(config, preprocessing=ModelCard().preprocessing | {"resize_mode": "crop", "image_size": 64})
    return Localizer(variables, card, batch=batch)


def test_turned_photos_are_looked_at_as_they_are_stored(tmp_path):
    photo = RNG.integers(0, 256, (40, 56, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(photo).save(tmp_path / "turned.png", exif=exif)
    localizer = tiny_localizer()
    stored, turned = localizer(photo, details=True), localizer(tmp_path / "turned.png", details=True)
    for name in ("photo", "probability", "map", "boundary", "reconstruction"):
        np.testing.assert_array_equal(getattr(turned, name), np.rot90(getattr(stored, name), -1))
    assert turned.score == stored.score


def test_an_incomplete_last_block_has_its_neighbors_value():
    photo = RNG.integers(0, 256, (45, 62, 3), np.uint8)
    localizer = tiny_localizer()
    result, whole = localizer(photo), localizer(photo[:40, :56])
    assert result.probability.shape == (45, 62) and result.map.shape == (12, 16)
    np.testing.assert_array_equal(result.probability, np.pad(whole.probability, ((0, 5), (0, 6)), "edge"))
    np.testing.assert_array_equal(result.map, np.pad(whole.map, ((0, 2), (0, 2)), "edge"))
    assert result.score == whole.score >= result.probability.max()


def test_photos_of_all_sizes_go_through_a_network_together(monkeypatch):
    """Each as if it were alone: in tiles or whole, padded or not, whatever is beside it in a batch."""
    monkeypatch.setattr("pimjax.inference.localizer.SHAPES", ((64, 64), (64, 128), (128, 64), (128, 128)))
    monkeypatch.setattr("pimjax.inference.localizer.TILE", 128)
    monkeypatch.setattr("pimjax.inference.localizer.OVERLAP", 32)
    config = tiny_model(depths=(1, 1), num_heads=(1, 2), image_decoder=False, boundary_decoder=False)
    variables = jax.jit(PIM(config).init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    card = ModelCard(config, preprocessing=ModelCard().preprocessing | {"resize_mode": "crop", "image_size": 64})
    photos = [RNG.integers(0, 256, (*shape, 3), np.uint8) for shape in ((5, 7), (64, 64), (150, 130), (60, 50))]
    together = Localizer(variables, card, batch=3).localize(photos)
    alone = Localizer(variables, card, batch=1)
    for photo, result in zip(photos, together, strict=True):
        H, W, _ = photo.shape
        assert result.probability.shape == (H, W) and result.map.shape == (-(-H // 4), -(-W // 4))
        np.testing.assert_allclose(result.probability, alone(photo).probability, atol=1e-5)
    # Its own pixels decide what a tile says, not its place in the batch.
    assert np.abs(together[0].probability.mean() - together[1].probability.mean()) > 1e-6


def test_tiles_begin_where_jpeg_s_blocks_and_windows_do():
    places = tile_places((1024, 3008, 3), TILE, OVERLAP, GRAIN)
    assert all(y % GRAIN == x % GRAIN == 0 for y, x in places)
    columns = sorted({x for _, x in places})
    assert columns[0] == 0 and columns[-1] == 3008 - TILE and np.diff(columns).max() <= TILE - OVERLAP


def test_the_shipped_model_is_what_it_is_said_to_be_and_finds_a_plain_splice():
    assert weights_path(BUNDLED).stat().st_size <= 25e6
    for other in (f"./{BUNDLED}", Path(BUNDLED)):
        assert weights_path(other) == Path(BUNDLED)
    localizer = Localizer.load()
    config = read_config(Path(__file__).parents[1] / "configs" / "pim_small.py")
    assert (localizer.card.model, localizer.card.preprocessing["image_size"]) == (config.model, config.data.image_size)
    assert {kind: len(localizer.card.provenance["scores"][kind]) for kind in ("authentic", "manipulated")} == {
        "authentic": 224,
        "manipulated": 531,
    }
    host, donor = (load_source("installed:validation")[i]["image"] for i in (0, 1))
    host, donor = (cv2.resize(photo, (384, 256), interpolation=cv2.INTER_AREA) for photo in (host, donor))
    region = cv2.ellipse(np.zeros((256, 384), np.uint8), (200, 120), (70, 45), 20, 0, 360, 1, -1) > 0
    host = compress(host, 75)
    probability = localizer(compress(np.where(region[..., None], donor, host), 92)).probability
    assert roc_auc(probability, region) > 0.9
    assert score(probability, region)["f1"] > 0.5
    assert (localizer(compress(host, 92)).probability > 0.5).mean() < 0.1
