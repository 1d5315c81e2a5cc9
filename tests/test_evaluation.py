"""Predictors on datasets: rows, records that go on, summaries, tables; other ways to ask a model."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from toy_set import write_set

from pimjax.cli import main
from pimjax.config import Config, DataConfig, tiny_model
from pimjax.data.images import ImageError, write_png
from pimjax.data.registry import load_source
from pimjax.data.transforms import resize, target_mask
from pimjax.evaluation.benchmark import read_results, run_benchmark, safe
from pimjax.evaluation.corruptions import CORRUPTIONS
from pimjax.evaluation.evaluate import enlarged, evaluate, score_example
from pimjax.evaluation.load_predictor import UnknownModelError, localizer_predictor, open_model, with_options
from pimjax.evaluation.map_files import read_map
from pimjax.evaluation.plots import save_robustness
from pimjax.evaluation.predictors import Prediction, model_predictor
from pimjax.evaluation.report import write_report
from pimjax.evaluation.results import DatasetResult, DatasetSummary
from pimjax.evaluation.robustness import robustness_table, run_robustness
from pimjax.evaluation.saved_maps import folder_predictor
from pimjax.evaluation.summary import column, compare, summarize_dataset
from pimjax.evaluation.tables import dataset_table, latex, markdown, show
from pimjax.inference.localizer import Localizer, model_hash
from pimjax.inference.tiles import blend_tiles
from pimjax.inference.tta import flip_averaged, resized, tiled
from pimjax.metrics.conventions import detection, image_score, score
from pimjax.models.pim import PIM
from pimjax.weights.card import card_of_run

H, W = 48, 64


def photo(number):
    """An image whose manipulated part is redder than the rest, and its mask; every fourth is authentic."""
    rng = np.random.default_rng(number)
    image, mask = rng.integers(0, 120, (H, W, 3), np.uint8), np.zeros((H, W), np.uint8)
    if number % 4:
        y, x = rng.integers(0, H - 24), rng.integers(0, W - 24)
        mask[y : y + 24, x : x + 24] = 255
        image[mask > 0, 0] += 100
    return image, mask


def red(image):
    return np.clip(image[..., 0] / 220, 0, 1)


def dim(image):
    return 0.8 * red(image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight images, a ninth that is broken, and a manifest."""
    folder = tmp_path_factory.mktemp("dataset")
    write_set(folder, map(photo, range(8)), "broken.png")
    return folder


@pytest.fixture
def source(folder):
    return load_source(f"csv:{folder / 'set.csv'}")


def test_a_row_has_every_convention(source):
    example = source[1]
    truth, map_ = example["mask"] > 127, red(example["image"]).astype(np.float32)
    row = score_example(example, Prediction(map_), 0.5)
    for convention in ("pim-fullsize", "benco", "benco-reverse", "benco-double", "permuted"):
        for name, value in score(map_, truth, convention).items():
            assert row["scores"][f"{convention}.{name}"] == value
    at_128 = score(resize(map_, 128, 128).clip(0, 1), target_mask(example["mask"], 128, 128))
    assert {name: row["scores"][f"pim.{name}"] for name in at_128} == at_128
    assert row["scores"]["image.max"] == image_score(map_)
    assert row["confusion"].tp + row["confusion"].fn == truth.sum() and np.sum(row["histogram"]) == truth.size
    assert score_example(source[0], Prediction(map_), 0.5)["scores"]["pim-fullsize.f1"] is None


def test_a_small_map_is_enlarged_and_benco_scores_at_the_input_size(source):
    example = source[1]
    truth = example["mask"] > 127
    small = target_mask(example["mask"], 12, 16).astype(np.float32)
    row = score_example(example, Prediction(small), 0.5)
    assert [row[key] for key in ("map_height", "map_width", "height", "width")] == [12, 16, H, W]
    row = row["scores"]
    enlarged = cv2.resize(small, (W, H), interpolation=cv2.INTER_LINEAR)
    assert row["benco.f1"] == pytest.approx(score(enlarged, truth, "benco")["f1"]) and 0.8 < row["benco.f1"] < 1
    asked = score_example(example, Prediction(small), 0.5, input_side=32)["scores"]
    squares = (
        cv2.resize(enlarged, (32, 32)),
        cv2.resize(example["mask"], (32, 32), interpolation=cv2.INTER_NEAREST_EXACT),
    )
    assert asked["benco.f1"] == pytest.approx(score(squares[0], squares[1] > 127, "benco")["f1"])
    assert asked["permuted.f1"] == row["permuted.f1"]
    sharp = score_example(example, Prediction(small, truth.astype(np.float32)), 0.5)["scores"]
    assert sharp["benco.f1"] == pytest.approx(1)
    score_example(example, Prediction(np.zeros((32, 32), np.float32)), 0.5)  # what a network makes of any image
    with pytest.raises(ImageError, match=r"its map is 12×16 pixels, the image 64×48"):
        score_example(example, Prediction(small.T), 0.5)


def test_what_was_scored_is_not_scored_again(source, tmp_path, capsys):
    asked = []

    def model(image):
        asked.append(image)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return red(image)

    with pytest.raises(KeyboardInterrupt):
        evaluate(model_predictor("red", model), source, tmp_path)
    with (tmp_path / "images.jsonl").open("a") as file:
        file.write('{"number": 3, "id": "cut o')  # as a kill leaves it
    rows, errors = evaluate(model_predictor("red", model), source, tmp_path)
    assert len(asked) == 4 + 5 and [row.number for row in rows] == list(range(8))
    assert len(errors) == 1 and "broken.png" in errors[0]
    uncorrupted, _ = evaluate(model_predictor("red", red), source, tmp_path / "other")
    for row, other in zip(rows, uncorrupted, strict=True):
        assert row._replace(seconds=0) == other._replace(seconds=0)
    with (tmp_path / "images.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["pim.f1"]) for row in written] == [row.scores["pim.f1"] for row in rows]
    strip = cv2.imread(str(tmp_path / rows[1].picture))
    assert strip.shape == (H, 4 * W + 12, 3)
    # Only the broken image is tried again.
    evaluate(model_predictor("red", model), source, tmp_path)
    assert len(asked) == 9


def test_results_of_something_else_are_not_mixed(source, tmp_path):
    evaluate(model_predictor("red", red, {"sha256": "1"}), source, tmp_path, pictures=False)
    with pytest.raises(ValueError, match=r"holds results for sha256 = 1; these are for sha256 = 2: give another"):
        evaluate(model_predictor("red", red, {"sha256": "2"}), source, tmp_path, pictures=False)
    with pytest.raises(ValueError, match=r"threshold = 0.5; these are for threshold = 0.4"):
        evaluate(model_predictor("red", red, {"sha256": "1"}), source, tmp_path, threshold=0.4, pictures=False)


def test_what_has_changed_since_is_scored_again(folder, tmp_path):
    """An image's mask, a saved map, the order of a manifest."""
    place = tmp_path / "dataset"
    shutil.copytree(folder, place)
    source = load_source(f"csv:{place / 'set.csv'}")
    for number in range(8):
        write_png(tmp_path / f"maps/{number}.png", np.rint(red(photo(number)[0]) * 255).astype(np.uint8))

    def scored():
        predictor = folder_predictor("maps", tmp_path / "maps", source.ids())
        return evaluate(predictor, source, tmp_path / "out", pictures=False)[0]

    before = scored()
    assert scored() == before
    write_png(tmp_path / "maps/1.png", np.zeros((H, W), np.uint8))
    write_png(place / "masks/2.png", 255 - source[2]["mask"])
    after = scored()
    assert [old == new for old, new in zip(before, after, strict=True)] == [n not in (1, 2) for n in range(8)]
    assert after[1].scores["benco.f1"] == 0 and after[2].confusion.tp == before[2].confusion.fp
    lines = (place / "set.csv").read_text().splitlines()
    (place / "set.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    source = load_source(f"csv:{place / 'set.csv'}")
    turned = scored()
    assert [row.id for row in turned] == [row.id for row in after[::-1]]
    assert [row.scores["benco.f1"] for row in turned] == [row.scores["benco.f1"] for row in after[::-1]]
    assert compare(turned, after, "benco.f1").images == 1  # never an image with another: the middle one stayed

    file = tmp_path / "out/images.jsonl"
    file.write_text(file.read_text().replace('"number"', "number", 1))
    with pytest.raises(ValueError, match=r"images\.jsonl, line 1: damaged"):
        scored()


def test_a_model_that_fails_loses_one_image(source, tmp_path):
    def moody(image):
        if (image == source[3]["image"]).all():
            raise RuntimeError("out of temper")
        return np.full((4, 4), np.nan) if (image == source[5]["image"]).all() else red(image)

    rows, errors = evaluate(model_predictor("moody", moody), source, tmp_path, pictures=False)
    assert [row.number for row in rows] == [0, 1, 2, 4, 6, 7]
    assert "3.png: moody failed on it (RuntimeError: out of temper)" in errors[0]
    assert "5.png: moody failed on it (moody: gives values from nan" in errors[1]


def test_a_summary_says_what_its_means_are_of(source, tmp_path):
    rows, errors = evaluate(model_predictor("red", red), source, tmp_path, pictures=False)
    summary = summarize_dataset(rows, errors)
    assert summary[:4] == (8, 9, 6, 2)
    f1 = summary.scores["pim-fullsize"]["f1"]
    assert (f1.n, f1.undefined) == (6, 2)
    assert f1.value == pytest.approx(np.nanmean(column(rows, "pim-fullsize.f1")))
    assert f1.low <= f1.value <= f1.high
    masks, maps = (
        np.stack([part(source[i]) for i in range(8)]) for part in (lambda e: e["mask"], lambda e: red(e["image"]))
    )
    for name, value in score(maps.astype(np.float32), masks > 127, "pooled").items():
        assert summary.pooled[name].value == pytest.approx(value)
        assert summary.pooled[name].low <= value <= summary.pooled[name].high
    by_image = detection(maps.max((1, 2)), masks.any((1, 2)))
    assert summary.image_level["max"]["auc"].value == pytest.approx(by_image["auc"])
    marked = [(maps[i] > 0.5).mean() for i in (0, 4)]
    assert summary.pixel_fpr_authentic.value == pytest.approx(np.mean(marked))
    assert any("1 of 9 images could not be scored" in warning for warning in summary.warnings)
    assert "NaN" not in json.dumps(summary.to_json())
    assert DatasetSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_a_set_without_manipulated_images_is_about_false_alarms(source, tmp_path):
    rows, errors = evaluate(model_predictor("red", red), source, tmp_path, pictures=False)
    summary = summarize_dataset([row for row in rows if not row.manipulated], [])
    assert summary.scores["pim-fullsize"]["f1"].known is False
    assert summary.image_level["max"]["fpr"].value == 1
    assert summarize_dataset([], ["broken"]).warnings == ["nothing was scored"]


def test_saved_maps_are_scored_as_the_model_would_be(source, folder, tmp_path):
    for number in range(8):
        map_ = red(source[number]["image"]).astype(np.float32)
        if number < 3:
            write_png(tmp_path / f"{number}.png", np.rint(map_ * 255).astype(np.uint8))
        elif number < 5:
            np.save(tmp_path / f"{number}.png.npy", map_)
        elif number < 7:  # the last has none
            np.savez(tmp_path / f"{number}.npz", map=map_)
    predictor = folder_predictor("saved", tmp_path, source.ids())
    rows, errors = evaluate(predictor, source, tmp_path / "out", pictures=False)
    assert len(rows) == 7 and len(errors) == 2
    assert any("7.png: no map of it in" in error for error in errors)
    direct, _ = evaluate(model_predictor("red", red), source, tmp_path / "direct", pictures=False)
    for row, other in zip(rows, direct, strict=False):
        assert row.scores["benco.f1"] == pytest.approx(other.scores["benco.f1"], abs=0.02 if row.number < 3 else 1e-9)
    assert "7 of 9" in dataset_table([_result("saved", rows, errors)])[1]


def _result(name, rows, errors=()):
    return DatasetResult(name, "dataset", summarize_dataset(rows, errors), rows)


def test_inverted_maps_are_noticed_and_can_be_turned(source, tmp_path):
    for number in range(8):
        write_png(tmp_path / f"{number}.png", 255 - np.rint(red(source[number]["image"]) * 255).astype(np.uint8))
    # Six manipulated images are too few to tell; the same ones twice are not.
    rows, _ = evaluate(folder_predictor("maps", tmp_path, source.ids()), source, tmp_path / "a", pictures=False)
    assert any("may be inverted" in w for w in summarize_dataset([*rows, *rows], []).warnings)
    rows, _ = evaluate(folder_predictor("maps", tmp_path, source.ids(), True), source, tmp_path / "b", pictures=False)
    assert not any("inverted" in w for w in summarize_dataset([*rows, *rows], []).warnings)
    assert np.nanmean(column(rows, "benco.auc")) > 0.9


def test_a_map_that_two_images_could_own_is_refused(folder, tmp_path):
    ids = ["/data/a/1.jpg", "/data/b/1.jpg"]
    np.save(tmp_path / "1.npy", np.zeros((4, 4)))
    with pytest.raises(ImageError, match=r"1\.npy: it could be the map of /data/a/1\.jpg and of /data/b/1\.jpg"):
        folder_predictor("maps", tmp_path, ids)
    (tmp_path / "1.npy").unlink()
    for name, value in (("a", 0.25), ("b", 0.75)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", np.full((4, 4), value))
    predictor = folder_predictor("maps", tmp_path, ids)
    assert [predictor.predict({"id": id_}).map[0, 0] for id_ in ids] == [0.25, 0.75]
    np.save(tmp_path / "b/2.npy", np.zeros((4, 4)))
    write_png(tmp_path / "b/2.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(ImageError, match=r"2\.png: 2\.npy is of the same image"):
        folder_predictor("maps", tmp_path, ids)
    with pytest.raises(FileNotFoundError, match="holds no maps"):
        folder_predictor("maps", folder / "masks" / "nothing", ids)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), np.nan), "values from nan"),
        (np.full((4, 4), 3.0), "values from 3 to 3"),
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.array(["a"]), r"<U1 \[1\]"),
        (np.eye(4, dtype=int), r"int64 \[4, 4\]"),
        (np.eye(4, dtype=np.uint8), "its largest value is 1 of 255"),
    ],
)
def test_what_is_no_map_is_refused(values, message, tmp_path):
    np.save(tmp_path / "map.npy", values)
    with pytest.raises(ImageError, match=message):
        read_map(tmp_path / "map.npy")


def test_maps_are_read_by_their_type(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), np.array([[0, 65535, 32768]], np.uint16))
    np.testing.assert_allclose(read_map(tmp_path / "deep.png"), [[0, 1, 0.50001]], atol=1e-5)
    np.save(tmp_path / "yes.npy", np.array([[[True], [False]]]))
    np.testing.assert_array_equal(read_map(tmp_path / "yes.npy"), [[1, 0]])
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04nothing")
    (tmp_path / "object.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    np.savez_compressed(tmp_path / "bad.npz", a=np.random.default_rng(0).random((40, 40)))
    damaged = bytearray((tmp_path / "bad.npz").read_bytes())
    damaged[200:260] = bytes(60)
    (tmp_path / "bad.npz").write_bytes(damaged)
    for name in ("cut.npz", "object.npy", "two.npz", "absent.npy", "bad.npz"):
        with pytest.raises(ImageError, match=name):
            read_map(tmp_path / name)


def test_tables_name_conventions_and_compare_pairs(source, tmp_path):
    predictors = [model_predictor("red", red), model_predictor("dim", dim), model_predictor("dim_too", dim)]
    results = run_benchmark(predictors, {"a set": source}, tmp_path, command="pimjax evaluate …")
    table = dataset_table(results)
    assert "F1, pim-fullsize" in table[0] and table[0][-1] == "F1, pim-fullsize, against red"
    assert all(row[1] == "8 of 9" for row in table[1:])
    column_ = table[0].index("F1, pim-fullsize")
    assert table[1][column_] == show(results[0].summary.scores["pim-fullsize"]["f1"], 8)
    assert table[1][column_].endswith("(6)")
    assert table[2][-1].startswith("-0.") and table[2][-1] == table[3][-1]
    more = run_benchmark([model_predictor("late", red)], {"a set": source}, tmp_path)
    assert [result.model for result in more] == ["red", "dim", "dim_too", "late"]
    with pytest.raises(ValueError, match=r"results at threshold 0\.5, not 0\.4"):
        run_benchmark([model_predictor("late", red)], {"a set": source}, tmp_path, threshold=0.4)
    text = markdown(dataset_table(more))
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert r"dim\_too" in latex(table, "50 % & more") and r"50 \% \& more" in latex(table, "50 % & more")
    about, again = read_results(tmp_path)
    assert about["commands"] == ["pimjax evaluate …", ""] and about["datasets"]["a set"]["images"] == 9
    assert repr([r[:3] for r in again[:3]]) == repr([r[:3] for r in results])  # NaN is not equal to itself
    assert again[0].rows == results[0].rows
    assert (tmp_path / "red" / safe("a set") / "scores.json").is_file() and safe("a/b c") == "a_b_c"
    tables = (tmp_path / "tables.md").read_text()
    assert text in tables and "Threshold 0.5." in tables and "sign-flip permutation test" in tables
    with pytest.raises(FileNotFoundError, match="finished pimjax evaluate"):
        read_results(tmp_path / "nowhere")


def test_tiles_of_a_model_that_looks_at_pixels_are_the_model():
    image = np.random.default_rng(0).integers(0, 220, (90, 131, 3), np.uint8)
    seen = []

    def model(tile):
        seen.append(tile.shape)
        return red(tile)

    np.testing.assert_allclose(tiled(model, 40)(image), red(image), atol=1e-6)
    assert set(seen) == {(40, 40, 3)} and len(seen) == 3 * 5
    np.testing.assert_allclose(tiled(red, 200)(image), red(image), atol=1e-6)
    # A model that errs at edges errs less: a tile's edge hardly counts where another tile covers it.
    edges = lambda tile: np.pad(np.zeros((tile.shape[0] - 2, tile.shape[1] - 2)), 1, constant_values=1.0)  # noqa: E731
    assert tiled(edges, 40)(image)[1:-1, 1:-1].max() < 0.2


def test_tiles_of_maps_of_a_quarter_of_the_size():
    image = np.random.default_rng(0).integers(0, 220, (96, 132, 3), np.uint8)
    quarter = lambda tile: {"mask": red(tile)[::4, ::4], "colors": tile[::4, ::4] / 255}  # noqa: E731
    maps = blend_tiles(quarter, image, 64, 16, 4)
    for name, map_ in quarter(image).items():
        np.testing.assert_allclose(maps[name], map_, atol=1e-6)


def test_flips_and_sizes():
    image = np.random.default_rng(0).integers(0, 220, (20, 30, 3), np.uint8)
    left = lambda image: np.tile(np.linspace(1, 0, image.shape[1]), (image.shape[0], 1))  # noqa: E731
    np.testing.assert_allclose(flip_averaged(left)(image), 0.5)
    np.testing.assert_allclose(flip_averaged(red)(image), red(image))
    assert resized(red, 60)(image).shape == (40, 60) and resized(red, 15)(image).shape == (10, 15)


def test_the_commands_from_end_to_end(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    source, out = f"toy=csv:{folder / 'set.csv'}", str(tmp_path / "out")
    for number in range(8):
        write_png(tmp_path / f"maps/{number}.png", np.rint(red(photo(number)[0]) * 255).astype(np.uint8))
    command = ["evaluate", "--source", source, "--output", out, "--model", "mine=test_evaluation:red"]
    command += ["everything", "--flip", "--predictions", f"theirs={tmp_path / 'maps'}"]
    assert main(command) == 1  # one image is broken
    said = capsys.readouterr()
    assert "broken.png" in said.err + said.out and "### toy" in said.out
    assert "1 of 9 images could not be scored" in said.out
    rows = {line.split("|")[1].strip(): line for line in said.out.splitlines() if line.startswith("|")}
    assert {"mine", "mine+flip", "everything", "everything+flip", "theirs"} <= rows.keys()
    assert all("8 of 9" in rows[name] for name in ("mine", "everything", "theirs"))
    assert "p = 1.000" in rows["mine+flip"] and "p = 1.000" not in rows["everything"]
    assert main(command) == 1
    again = capsys.readouterr().out
    assert again == said.out

    command = ["robustness", "--source", source, "--output", out + "2", "--model", "test_evaluation:red"]
    assert main([*command, "--corruption", "gamma"]) == 1
    said = capsys.readouterr().out
    assert "### toy: gamma" in said and "mean over the span" in said
    result = json.loads((tmp_path / "out2/robustness.json").read_text())
    levels = {row["level"]: row["value"] for row in result["rows"]}
    assert list(levels) == [None, 0.7, 0.85, 1, 1.15, 1.3] and levels[None] == levels[1] != levels[1.3]
    (area,) = result["areas"]
    values = [levels[level] for level in (0.7, 0.85, 1, 1.15, 1.3)]
    assert area["value"] == pytest.approx((sum(values) - (values[0] + values[-1]) / 2) / 4)
    assert area["uncorrupted"] == levels[None] and area["low"] <= area["value"] <= area["high"]


def test_robustness_of_what_has_no_score(folder, tmp_path):
    """Authentic images have no F1: tables and curves say so, and JSON has no NaN."""
    (tmp_path / "authentic.csv").write_text(f"image,mask\n{folder / 'images/0.png'},\n")
    source = load_source(f"csv:{tmp_path / 'authentic.csv'}")
    result = run_robustness([model_predictor("red", red)], {"dataset": source}, ["gamma"], tmp_path)
    assert "NaN" not in (tmp_path / "robustness.json").read_text()
    assert robustness_table(result).count("| –") == 1 + 5 + 1
    save_robustness(result["rows"], tmp_path / "curves")
    assert (tmp_path / "curves.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "give one, MODULE:FUNCTION, or one of"),
        (["--model", "json:nothing"], "model 'json:nothing': cannot be imported"),
        (["--model", "everything", "everything"], "two predictors are called everything"),
        ([], "give --model or --predictions"),
    ],
)
def test_a_wrong_command_is_told_what_is_right(arguments, message, folder, capsys):
    assert main(["evaluate", "--source", f"csv:{folder / 'set.csv'}", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_checkpoint_takes_part(folder, tmp_path):
    """At the size of its own map, and enlarged as `predict` does; its hash is that of its weights."""
    rng, shapes = (
        np.random.default_rng(0),
        jax.eval_shape(PIM(tiny_model()).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)),
    )
    variables = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32) / 10, shapes)
    example = load_source(f"csv:{folder / 'set.csv'}")[1]
    for fit, size in (("resize", (16, 16)), ("crop", (H // 4, W // 4))):
        localizer = Localizer(
            variables, card_of_run(Config(model=tiny_model(), data=DataConfig(image_size=64, resize_mode=fit)))
        )
        predictor = localizer_predictor(localizer, "tiny", {})
        prediction = predictor.predict(example)
        assert prediction.map.shape == size
        # Asked in other ways, it is scored at the same size.
        sides = {way.input_side for way in with_options(predictor, flip=True, tiles=32, sides=(32,))}
        assert sides == {None if fit == "crop" else 64}
        assert predictor.about["sha256"] == localizer.hash
        np.testing.assert_allclose(enlarged(prediction, H, W), localizer(example["image"]).probability, atol=1e-6)
    card = card_of_run(Config(model=tiny_model()))
    others = (
        (jax.tree.map(lambda array: array + np.float32(1e-6), variables), card),
        (variables, card_of_run(Config(model=tiny_model(raster_mask=False)))),
        (variables, card_of_run(Config(model=tiny_model(), data=DataConfig(image_size=256)))),
    )
    assert len({model_hash(*other) for other in ((variables, card), *others)}) == 4


CASES = Path(__file__).parent / "cases"


def save_maps(folder, source, function):
    for number in range(8):
        write_png(folder / f"{number}.png", np.rint(function(source[number]["image"]) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda image: (red(image) > 0.5).astype(float), True),  # 0 and 255
        (lambda image: np.where(red(image) > 0.5, 0.8, 0.2), True),  # any two values
        (lambda image: np.ones(image.shape[:2]), False),  # constant: AUC 0.5 is what it is
        (red, False),
    ],
    ids=["binary", "two values", "constant", "graded"],
)
@pytest.mark.parametrize("saved", [False, True], ids=["model", "maps"])
def test_scores_over_all_thresholds_are_left_out_of_thresholded_maps(function, said, saved, source, tmp_path):
    save_maps(tmp_path / "maps", source, function)
    predictor = folder_predictor("m", tmp_path / "maps", source.ids()) if saved else model_predictor("m", function)
    (result,) = run_benchmark([predictor], {"s": source}, tmp_path / "out")
    summary = DatasetSummary.from_json(json.loads((tmp_path / "out/m/s/scores.json").read_text()))
    assert summary.thresholded == said == any("thresholded already" in text for text in summary.warnings)
    text = (tmp_path / "out/tables.md").read_text()
    assert ("thresholded already" in text) == said == ("AUC, benco" not in text) == ("calibration error, " not in text)
    assert "F1, pim-fullsize" in text and summary.pooled["f1"].known
    for name in ("auc", "best_f1", "average_precision", "calibration_error"):
        assert summary.pooled[name].known != said
    assert summary.scores["benco"]["auc"].known != said
    with (tmp_path / "out/m/s/images.csv").open() as file:
        assert any(row["benco.auc"] for row in csv.DictReader(file)) != said
    write_report(tmp_path / "out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert ("thresholded already" in page) == said == ("Precision and recall" not in page)
    assert "thresholded already" in (tmp_path / "out/tables.tex").read_text() or not said


def test_the_thresholded_maps_of_the_case_have_no_auc(tmp_path, capsys):
    case = CASES / "A10_auc_of_binary_maps"
    command = ["evaluate", "--predictions", f"bin={case / 'maps'}", "--source", f"csv:{case / 's.csv'}"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "bin: its maps have two values only" in said and "AUC, benco" not in said and "best F1, permuted" not in said


def test_the_color_coded_masks_of_the_case_are_not_scored(tmp_path, capsys):
    source = f"csv:{CASES / 'A14_coloured_edge_masks/s.csv'}"
    assert main(["evaluate", "--model", "everything", "--source", source, "--output", str(tmp_path / "e")]) == 1
    assert "e0.jpg: color-coded" in capsys.readouterr().err
    assert main(["check-data", source, "--output", str(tmp_path / "c")]) == 1
    assert "training must not start" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda mask: (".jpg", mask), "lossy"),
        (lambda mask: (".png", mask // 2 + 100), "gray"),
        (lambda mask: (".png", mask[::2, ::2]), "scaled"),
        (lambda mask: (".png", np.zeros_like(mask)), "empty"),
        (lambda mask: (".png", 255 - mask), "inverted"),
    ],
)
def test_doubtful_masks_are_told_under_the_table(spoil, kind, tmp_path):
    lines = ["image,mask"]
    for number in range(9):
        image, mask = photo(4 * number + 1)
        suffix, stored = spoil(mask)
        write_png(tmp_path / f"{number}.png", image)
        (tmp_path / f"m{number}{suffix}").write_bytes(cv2.imencode(suffix, stored)[1].tobytes())
        lines.append(f"{number}.png,m{number}{suffix}")
    (tmp_path / "s.csv").write_text("\n".join(lines))
    run_benchmark([model_predictor("red", red)], {"s": load_source(f"csv:{tmp_path / 's.csv'}")}, tmp_path / "out")
    text = (tmp_path / "out/tables.md").read_text()
    assert f"9 of 9 masks ({kind})" in text
    assert any(f"({kind})" in w for w in json.loads((tmp_path / "out/red/s/scores.json").read_text())["warnings"])


def test_only_maps_are_called_inverted_and_once(source, tmp_path):
    save_maps(tmp_path / "maps", source, lambda image: 1 - red(image))
    predictors = [
        model_predictor("model", lambda image: 1 - red(image)),
        folder_predictor("maps", tmp_path / "maps", source.ids()),
    ]
    results = run_benchmark(predictors, {"a": source, "b": source}, tmp_path / "out")
    hints = [(r.model, r.dataset) for r in results if any("--invert" in warning for warning in r.summary.warnings)]
    assert hints == [("maps", "a")]
    predictor = folder_predictor("maps", tmp_path / "maps", source.ids(), invert=True)
    (result,) = run_benchmark([predictor], {"a": source}, tmp_path / "other")
    assert not any("--invert" in warning for warning in result.summary.warnings)


def write_module(folder, monkeypatch, text):
    (folder / "in_this_folder.py").write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(folder))])
    monkeypatch.delitem(sys.modules, "in_this_folder", raising=False)


def test_one_model_s_failure_does_not_end_the_others(folder, tmp_path, monkeypatch, capsys):
    """A module that fails, a checkpoint that is none, a model of NaN."""
    write_module(tmp_path, monkeypatch, "1 / 0")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    command = ["--source", f"s=csv:{folder / 'set.csv'}", "--model", "in_this_folder:f", "broken.safetensors"]
    command += ["nan=test_evaluation:not_a_number", "everything"]
    assert main(["evaluate", *command, "--output", "e"]) == 1
    said = capsys.readouterr()
    assert "in_this_folder:f does not take part: model 'in_this_folder:f': importing it failed (Zero" in said.err
    assert "broken does not take part: broken.safetensors" in said.err
    assert "1.png: nan failed on it (nan: gives values from nan" in said.err
    rows = {line.split("|")[1].strip(): line for line in said.out.splitlines() if line.startswith("|")}
    assert "8 of 9" in rows["everything"] and "0 of 9" in rows["nan"]
    assert "broken did not take part" in (tmp_path / "e/tables.md").read_text()
    write_report(tmp_path / "e", tmp_path / "page.html")
    assert "broken did not take part" in (tmp_path / "page.html").read_text()
    assert main(["robustness", *command, "--output", "r", "--corruption", "jpeg=90"]) == 1
    assert "| 90 " in capsys.readouterr().out
    assert any(
        "broken did not take part" in error for error in json.loads(Path("r/robustness.json").read_text())["errors"]
    )
    assert main(["evaluate", *command[:4], "--output", "n"]) == 1  # nobody is left
    assert not (tmp_path / "n").exists()


def not_a_number(image):
    return np.full(image.shape[:2], np.nan)


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_a_checkpoint_of_nan_is_named_with_the_image(fit, source, tmp_path):
    class Broken:
        """Of a localizer what a predictor needs."""

        hash = "0"
        card = card_of_run(Config(model=tiny_model(), data=DataConfig(image_size=64, resize_mode=fit)))

        def __call__(self, image):
            class Result:
                map = np.full((H // 4, W // 4), np.nan, np.float32)
                probability = np.full((H, W), np.nan, np.float32)

            return Result

    _, errors = evaluate(localizer_predictor(Broken(), "broken", {}), source, tmp_path, pictures=False)
    assert len(errors) == 9 and "1.png: broken failed on it (broken: gives values from nan" in errors[1]


def test_a_function_is_found_in_the_current_folder_which_does_not_stay_on_the_path(tmp_path, monkeypatch):
    write_module(tmp_path, monkeypatch, "def mine(image):\n    return image[..., 0] / 255\n\nnumber = 3\n")
    before = list(sys.path)
    predictor = open_model("in_this_folder:mine")
    assert predictor.name == "mine" and predictor.predict({"image": np.full((4, 4, 3), 255, np.uint8)}).map.all()
    assert sys.path == before
    for what in ("in_this_folder:nothing", "nowhere_at_all:f", "in_this_folder:number", "pim-smal", ":f", "a:"):
        with pytest.raises(UnknownModelError, match=f"model '{what}'"):
            open_model(what)
    with pytest.raises(UnknownModelError, match="pim-small, everything, error-level, noise-level, jpeg-grid"):
        open_model("pim-smal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg", r"corruption 'jpg': it must be one of these.*jpeg \(quality: 50, 60, 70, 80, 90, 100\)"),
        ("jpeg=0", r"corruption jpeg=0: levels are whole numbers, 1 … 100 \(quality\)"),
        ("jpeg=90,75.5", r"corruption jpeg=75\.5"),
        ("blur=4", "corruption blur=4: levels are odd numbers"),
        ("noise=nan", "corruption noise=nan"),
        ("rescale=inf", "corruption rescale=inf"),
        ("webp=", "corruption webp=:"),
    ],
)
def test_a_wrong_corruption_or_level_is_told_before_work(text, message, folder, capsys):
    assert (
        main(["robustness", "--model", "nothing", "--source", f"csv:{folder / 'set.csv'}", "--corruption", text]) == 1
    )
    assert re.search(message, capsys.readouterr().err)


def test_levels_may_be_chosen(source, tmp_path):
    chosen = ["jpeg=75,90", "webp=80", "rescale=0.5", "jpeg=60"]
    result = run_robustness([model_predictor("red", red)], {"s": source}, chosen, tmp_path)
    levels = [(row["corruption"], row["level"]) for row in result["rows"]]
    assert levels == [(None, None), ("jpeg", 75), ("jpeg", 90), ("jpeg", 60), ("webp", 80), ("rescale", 0.5)]
    value = {row["level"]: row["value"] for row in result["rows"]}
    areas = {area["corruption"]: area["value"] for area in result["areas"]}
    assert areas["jpeg"] == pytest.approx((15 * (value[60] + value[75]) / 2 + 15 * (value[75] + value[90]) / 2) / 30)
    assert areas["webp"] == value[80] and areas["rescale"] == value[0.5]


def test_the_help_of_robustness_has_corruptions_and_levels(capsys):
    with pytest.raises(SystemExit):
        main(["robustness", "--help"])
    said = capsys.readouterr().out
    assert all(f"{name} (" in said for name in CORRUPTIONS) and "webp (quality: 90, 80, 70, 60, 50)" in said
