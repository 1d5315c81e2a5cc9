"""What predict writes: never over a file that is not its own, never outside its folder, whatever the rows say."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from red import Red

from pimjax import Localizer, files
from pimjax.cli import main
from pimjax.data.images import write_png
from pimjax.data.map_frame import Frame, frame_of
from pimjax.files import RECORD, atomic_path
from pimjax.inference.localizer import _localization
from pimjax.inference.row_keys import ERROR_KEYS
from pimjax.inference.rows import inside, is_inside
from pimjax.inference.score_reference import reference_scores
from pimjax.shutdown import INTERRUPTED

CASES = Path(__file__).parent / "cases"
RNG = np.random.default_rng(0)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`pimjax predict` with `Red` in a folder of two photos, a.png and deep/b.png → its status, and what it printed."""
    monkeypatch.setattr(Localizer, "load", lambda *arguments: Red())
    monkeypatch.chdir(tmp_path)
    for name in ("a", "deep/b"):
        write_png(tmp_path / f"{name}.png", RNG.integers(0, 250, (24, 32, 3), np.uint8))
    for record in tmp_path.rglob(RECORD):
        record.unlink()  # the photos are the user's

    def predict(*arguments):
        status = main(["predict", *map(str, arguments)])
        return status, capsys.readouterr()

    return predict


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def rows_of(folder):
    """But for when each was written."""
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert all(row.pop("time") for row in rows)
    return rows


# Never over what is not ours.


def test_the_user_s_own_mask_stays(run, tmp_path):
    folder = tmp_path / "D"
    shutil.copytree(CASES / "B01_own_mask_overwritten", folder)
    before = contents(folder)
    status, printed = run(folder, "--output", folder, "--write", "mask")
    assert status == 1 and printed.err.startswith("error: ") and "D/a_mask.png: exists and is not" in printed.err
    assert len(printed.err.splitlines()) == 1 and not printed.out
    assert contents(folder) == before
    # Elsewhere both files are photos.
    assert run(folder, "--output", "out", "--write", "mask")[0] == 0
    assert [row["name"] for row in rows_of(tmp_path / "out")] == ["a", "a_mask"] and contents(folder) == before


@pytest.mark.parametrize("name", ["a.npy", "a_overlay.png", "deep/b_mask.png", "a_boundary.png"])
def test_no_output_replaces_a_file_of_the_user(name, run, tmp_path):
    (tmp_path / name).write_bytes(b"mine")
    before = contents(tmp_path)
    status, printed = run("a.png", tmp_path, "--output", ".", "--write", "mask", "npy", "overlay", "boundary")
    assert status == 1 and f"{name}: exists" in printed.err and "error" in printed.err
    assert contents(tmp_path) == before


def test_files_in_the_way_are_counted(run, tmp_path):
    for name in ("a_mask.png", "a.npy", "deep/b.npy"):
        (tmp_path / name).write_bytes(b"mine")
    status, printed = run("a.png", "deep", "--output", ".", "--write", "mask", "npy")
    assert status == 1 and "a_mask.png: exists" in printed.err and "(2 such files are in the way)" in printed.err


@pytest.mark.parametrize("text", ['{"image": "a.png", "score": 0.5}\n', "a table\n1 2\n", '{"path": "a.png"}\n'])
def test_rows_of_something_else_stay(text, run, tmp_path):
    (tmp_path / "predictions.jsonl").write_text(text)
    status, printed = run("a.png", "--output", ".")
    assert status == 1 and "give another --output" in printed.err
    assert (tmp_path / "predictions.jsonl").read_text() == text


def test_a_result_corrected_by_hand_stays(run, tmp_path):
    assert run("a.png", "--write", "mask", "npy")[0] == 0
    assert run("a.png", "--write", "mask", "npy", "--threshold", "0.3")[0] == 0  # our own are replaced
    mask = tmp_path / "predictions/a_mask.png"
    write_png(tmp_path / "by_hand.png", np.zeros((24, 32), np.uint8))
    shutil.copy(tmp_path / "by_hand.png", mask)
    status, printed = run("a.png", "--write", "mask", "npy", "--threshold", "0.7")
    assert status == 1 and "was changed after pimjax wrote it" in printed.err
    assert mask.read_bytes() == (tmp_path / "by_hand.png").read_bytes()


def test_results_of_an_older_version_are_known_by_their_rows(run, tmp_path):
    assert run(tmp_path, "--output", ".", "--write", "mask", "npy")[0] == 0
    for record in tmp_path.rglob(RECORD):
        record.unlink()
    assert run(tmp_path, "--output", ".", "--write", "mask", "npy", "--threshold", "0.3")[0] == 0
    assert [row["name"] for row in rows_of(tmp_path)] == ["a", "deep/b"]


@pytest.mark.parametrize("moment", ["before the name", "before the row"])
def test_a_killed_run_goes_on_among_its_own_files(moment, run, tmp_path, monkeypatch):
    def noted_then_killed(*arguments, note=files._note):
        note(*arguments)
        raise KeyboardInterrupt

    def killed(*_):
        raise KeyboardInterrupt

    command = (tmp_path, "--output", tmp_path, "--write", "mask", "npy")
    with monkeypatch.context() as patch:
        if moment == "before the name":
            patch.setattr(files, "_note", noted_then_killed)
        else:
            patch.setattr("pimjax.inference.predict.measure", killed)
        assert run(*command)[0] == INTERRUPTED
    assert run(*command)[0] == 0
    assert [row["name"] for row in rows_of(tmp_path)] == ["a", "deep/b"]


# Never outside the folder.


@pytest.mark.parametrize("name", ["../ESC", "/tmp/ESC", "deep/../../ESC", "link/ESC", "C:\\ESC", "..\\ESC", "a\0b", ""])
@pytest.mark.parametrize("key", ["name", "files"])
def test_rows_lead_nowhere_else(name, key, run, tmp_path):
    assert run("a.png", "--output", "x/out", "--write", "mask")[0] == 0
    out = tmp_path / "x/out"
    (tmp_path / "x/elsewhere").mkdir()
    (out / "link").symlink_to(tmp_path / "x/elsewhere")
    row = rows_of(out)[0] | {key: name if key == "name" else {"mask": name}}
    (out / "predictions.jsonl").write_text(json.dumps(row) + "\n")
    before = contents(tmp_path)
    assert run("a.png", "--output", "x/out", "--write", "mask")[0] == 0
    changed = {path for path, content in contents(tmp_path).items() if before.get(path) != content}
    assert changed <= {"x/out/predictions.jsonl", f"x/out/{RECORD}", "x/out/a_mask.png"}
    assert rows_of(out)[0]["name"] == "a" and rows_of(out)[0]["files"] == {"mask": "a_mask.png"}


def test_links_in_the_folder_lead_nowhere_else(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/deep").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"out/{RECORD}").symlink_to(tmp_path / "elsewhere/record")
    status, printed = run(".", "--output", "out", "--write", "mask")
    assert status == 1 and "cannot be written" in printed.err
    (tmp_path / f"out/{RECORD}").unlink()
    assert run("a.png", "deep/b.png", "deep", "--output", "out", "--write", "mask")[0] == 0
    assert run(".", "--output", "out", "--write", "mask")[0] == 0
    assert [row["name"] for row in rows_of(tmp_path / "out")] == ["a", "b"]
    assert inside("deep/c", tmp_path / "out") == "deep-c" and not is_inside("deep/c", tmp_path / "out")
    assert not any((tmp_path / "elsewhere").iterdir())
    (tmp_path / "out/predictions.jsonl").rename(tmp_path / "rows")
    (tmp_path / "out/predictions.jsonl").symlink_to(tmp_path / "rows")
    assert "not a regular file" in run("a.png", "--output", "out")[1].err


def test_a_half_written_file_s_name_is_no_way_out(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.a.pimjax-partial.png").symlink_to(tmp_path / "mine")
    with atomic_path(tmp_path / "out/a.png") as temporary:
        temporary.write_bytes(b"result")
    assert not (tmp_path / "mine").exists()


# Rows are input.


@pytest.mark.parametrize("file", sorted((CASES / "B07_row_lacks_keys").glob("*.jsonl")), ids=lambda file: file.stem)
def test_rows_that_lack_something_are_done_again(file, run, tmp_path):
    (tmp_path / "out").mkdir()
    text = file.read_text().replace("PATH", str(tmp_path / "a.png"))
    (tmp_path / "out/predictions.jsonl").write_text(text)
    assert run("a.png", "--output", "out", "--write")[0] == 0
    assert [row["mtime"][0] for row in rows_of(tmp_path / "out")] == [(tmp_path / "a.png").stat().st_size]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("name", value) for value in (7, None, {}, "\ud800")),
        *(("mtime", value) for value in (1e999, [1, [2]], "now")),
        *(("files", value) for value in (["a"], {"mask": 1}, {"mask": "\udcff"}, {"mask": "\ud800"})),
        ("settings", []),
        ("model_sha256", 0),
    ],
)
def test_rows_of_wrong_types_are_done_again(key, value, run, tmp_path):
    assert run("a.png", "--output", "out", "--write", "mask")[0] == 0
    good = rows_of(tmp_path / "out")
    (tmp_path / "out/predictions.jsonl").write_text(json.dumps(good[0] | {key: value}) + "\n")
    assert run("a.png", "--output", "out", "--write", "mask")[0] == 0
    assert rows_of(tmp_path / "out") == good


@pytest.mark.parametrize(
    "line", ["[" * 10**5, '{"path": ' * 10**4, "7", "null", '"path"', f'{{"path": 1{"0" * 5000}}}']
)
def test_lines_that_are_no_rows_are_one_clear_error(line, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.jsonl").write_text(line + "\n")
    status, printed = run("a.png", "--output", "out")
    assert status == 1 and "predictions.jsonl, line 1: damaged" in printed.err and printed.err.count("\n") == 1


def test_a_key_given_twice_counts_once(run, tmp_path):
    assert run("a.png", "--write")[0] == 0
    rows = tmp_path / "predictions/predictions.jsonl"
    rows.write_text(rows.read_text().replace('"name": "a"', '"name": "../b", "name": "a"'))
    assert "are in predictions already" in run("a.png", "--write")[1].err


@pytest.mark.parametrize(
    ("file", "text"),
    [
        *(("about.json", text) for text in ("[" * 10**5, "[]", None)),
        *(("images.jsonl", f'{{"number": 0, "image.max": {rest}}}') for rest in ("1", 'NaN, "manipulated": true')),
        *(("images.jsonl", text) for text in ("[" * 10**5, '{"number": 0, "manipulated": 1, "image.max": 1}')),
    ],
)
def test_evaluations_are_input_too(file, text, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/about.json").write_text('{"sha256": "abc"}')
    (tmp_path / "set/images.jsonl").write_text('{"number": 0, "manipulated": true, "image.max": 0.5}\n')
    (tmp_path / "set" / file).unlink() if text is None else (tmp_path / "set" / file).write_text(text + "\n")
    with pytest.raises(ValueError, match=r"set(/images.jsonl)?(, line 1)?: .*(evaluate|delete)"):
        reference_scores(tmp_path, "abc")


# Frames.


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_all_that_is_written_knows_its_frame(orientation, run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RNG.integers(0, 250, (24, 32, 3), np.uint8)).save(tmp_path / "t.jpg", exif=exif)
    outputs = ("probability", "overlay", "mask", "npy", "boundary")
    assert run("t.jpg", "--write", *outputs)[0] == 0
    (row,) = rows_of(tmp_path / "predictions")
    assert (row["frame"], row["orientation"]) == ("upright", orientation)
    assert row["files"].keys() == set(outputs)
    for file in row["files"].values():
        assert frame_of(tmp_path / "predictions" / file) == Frame("upright", orientation)


# Values.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_no_result(value, run, tmp_path, monkeypatch):
    class Broken(Red):
        def localize(self, photos, details=False, orientations=()):
            maps = [np.full((6, 8), 0.2, np.float32) for _ in photos]
            maps[-1][3, 4] = value
            return [_localization(p, {"mask": m}, 1, True) for p, m in zip(photos, maps, strict=True)]

    monkeypatch.setattr(Localizer, "load", lambda *arguments: Broken())
    status, printed = run(".", "--write", "mask", "--output", "out")
    assert status == 1 and "deep/b.png: the model gave NaN or infinity; its weights may be damaged" in printed.err
    first, second = rows_of(tmp_path / "out")
    assert first["score"] == pytest.approx(0.2) and second.keys() == {*ERROR_KEYS} - {"time"}
    assert not (tmp_path / "out/deep").exists()


# The command line.


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["--write", "mask", "a.png"], ["a_mask.png"]),
        (["--write", "mask", "npy", "a.png"], ["a.npy", "a_mask.png"]),
        (["--write", "a.png"], []),
        (["a.png", "--write"], []),
        (["--write", "mask", "--list", "list.txt"], ["a_mask.png"]),
        (["--write", "mask", "a.png", "--list", "list.txt"], ["a_mask.png"]),
        (["--write", "mask", "./mask"], ["mask_mask.png"]),
        (["--write", "mask", "*.png"], ["a_mask.png"]),
        (["--write", "mask", "deep"], ["b_mask.png"]),
        (["--threshold", "0.4", "--write", "npy", "a.png", "--bits", "8"], ["a.npy"]),
    ],
)
def test_photos_may_follow_what_is_to_be_written(arguments, files, run, tmp_path):
    (tmp_path / "list.txt").write_text("a.png\n")
    shutil.copy(tmp_path / "a.png", tmp_path / "mask")
    assert run("--output", "out", *arguments)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").rglob("*_mask.png")) + sorted(
        path.name for path in (tmp_path / "out").rglob("*.npy")
    ) == sorted(files, key=lambda name: (name.endswith("npy"), name))


def test_a_slip_in_what_is_to_be_written_is_said(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--write", "maks", "a.png")
    assert (
        stopped.value.code == 2
        and "'maks' is neither a file nor one of probability, overlay" in capsys.readouterr().err
    )
    status, printed = run("--write", "mask", "gone/a.png")
    assert status == 1 and "gone/a.png: cannot be read" in printed.err


def test_photos_beyond_a_limit_are_not_decoded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    status, printed = run("a.png", "--max-megapixels", "0.0007")
    assert status == 1 and "a.png: 32×24 pixels, more than 0.0007 million; scale it down" in printed.err


def test_a_row_of_another_photo_unlocks_no_file(run, tmp_path):
    """The row calls the user's file its own, which is not called as its photo is."""
    assert run("a.png", "--output", "out", "--write", "mask")[0] == 0
    row = rows_of(tmp_path / "out")[0] | {"path": "/elsewhere/z.jpg", "name": "z", "files": {"mask": "b_mask.png"}}
    (tmp_path / "out/predictions.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "out/b_mask.png").write_bytes(b"the user's")
    assert run("deep/b.png", "--output", "out", "--write", "mask")[0] == 1
    assert (tmp_path / "out/b_mask.png").read_bytes() == b"the user's"
