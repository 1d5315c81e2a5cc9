"""The record of what was looked at: keys of a row, hashes, and `pimjax verify`, which compares them again."""

import hashlib
import json
import re

import numpy as np
import pytest
from red import Red

from pimjax import Localizer
from pimjax.cli import main
from pimjax.data.images import write_png
from pimjax.inference.row_keys import BEGIN, END, ERROR_KEYS, KEYS, SCHEMA, markdown
from pimjax.versions import versions


@pytest.fixture
def looked_at(tmp_path, monkeypatch, capsys):
    """A folder with two photos and one that is none, all looked at: its path."""
    monkeypatch.setattr(Localizer, "load", lambda *arguments: Red())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pimjax", "predict", "it's a folder"])
    for name in ("a", "b"):
        write_png(tmp_path / f"shots/{name}.png", np.random.default_rng(0).integers(0, 250, (24, 32, 3), np.uint8))
    (tmp_path / "shots/.pimjax-written.jsonl").unlink()  # the photos are the user's
    (tmp_path / "shots/c.png").write_bytes(b"no picture")
    assert main(["predict", "shots", "--output", "out"]) == 1
    capsys.readouterr()
    return tmp_path


def rows_of(folder):
    return [json.loads(line) for line in (folder / "out/predictions.jsonl").read_text().splitlines()]


def test_a_row_has_the_declared_keys_and_says_of_what_it_is(looked_at):
    a, b, c = rows_of(looked_at)
    assert a.keys() == b.keys() == KEYS.keys() - {"notes"}
    assert c.keys() == set(ERROR_KEYS)
    content = (looked_at / "shots/a.png").read_bytes()
    assert (a["sha256"], a["bytes"], a["format"]) == (hashlib.sha256(content).hexdigest(), len(content), "PNG")
    for row in (a, b, c):
        assert row["schema"] == SCHEMA
        assert row["versions"] == versions()
        assert row["command"] == """pimjax predict 'it'"'"'s a folder'"""
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])


def verified(capsys, *files):
    status = main(["verify", *(map(str, files or ["out/predictions.jsonl"]))])
    return status, capsys.readouterr().out.splitlines()


def test_what_is_as_it_was_is_counted(looked_at, capsys):
    (looked_at / "shots/c.png").unlink()
    rows = [row for row in rows_of(looked_at) if "error" not in row]
    (looked_at / "out/predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert verified(capsys) == (0, ["2 same"])


def test_what_has_changed_is_named(looked_at, capsys):
    """One bit of a photo; the other photo is gone; so is a result; and one that never was a photo."""
    photo = looked_at / "shots/a.png"
    content = bytearray(photo.read_bytes())
    content[-20] ^= 1
    photo.write_bytes(content)
    (looked_at / "shots/b.png").unlink()
    (looked_at / "out/b_overlay.png").unlink()
    status, lines = verified(capsys)
    assert status == 1
    states = sorted(tuple(line.split("\t")[:2]) for line in lines[:-1])
    gone = ("missing", "shots/b.png")  # and its overlay
    assert states == [("changed", "shots/a.png"), gone, gone, ("unknown", "shots/c.png")]
    assert lines[-1] == "1 changed, 2 missing, 1 unknown"
    changed = next(line for line in lines if line.startswith("changed"))
    assert hashlib.sha256(content).hexdigest() in changed


def test_photos_that_moved_with_their_rows_are_found(looked_at, capsys):
    """The absolute path leads nowhere; the one that was given is looked for beside the file."""
    (looked_at / "out").rename(looked_at / "moved")
    (looked_at / "shots").rename(looked_at / "moved/shots")
    status, lines = verified(capsys, "moved/predictions.jsonl")
    assert lines[-1] == "2 same, 1 unknown"
    assert status == 1


def test_rows_without_a_hash_are_not_vouched_for(looked_at, capsys):
    rows = [{key: value for key, value in row.items() if key != "sha256"} for row in rows_of(looked_at)]
    (looked_at / "out/predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, lines = verified(capsys)
    assert (status, lines[-1]) == (1, "3 unknown")
    assert "an older pimjax wrote it" in lines[0]


def test_a_result_outside_of_its_folder_is_told(looked_at, capsys):
    rows = rows_of(looked_at)
    rows[0]["files"]["overlay"] = "../../etc/passwd"
    (looked_at / "out/predictions.jsonl").write_text(json.dumps(rows[0]) + "\n")
    status, lines = verified(capsys)
    assert (status, lines[-1]) == (1, "1 changed, 1 same")


@pytest.mark.parametrize(
    ("content", "what"), [(None, "no such file; give the predictions.jsonl"), ("[]\n{}\n", "line 1: damaged")]
)
def test_what_is_no_record_is_one_line(content, what, tmp_path, capsys):
    file = tmp_path / "predictions.jsonl"
    if content:
        file.write_text(content)
    assert main(["verify", str(file)]) == 1
    printed = capsys.readouterr().err
    assert what in printed and printed.count("\n") == 1


def test_a_line_that_was_cut_off_is_left_out_as_everywhere(looked_at, capsys):
    file = looked_at / "out/predictions.jsonl"
    file.write_text(file.read_text() + '{"path": "cut o')
    assert verified(capsys)[1][-1] == "2 same, 1 unknown"


def test_the_table_of_keys_is_that_of_the_declarations(request):
    """If not: paste what `python -m pimjax.inference.row_keys` prints."""
    text = (request.config.rootpath / "pimjax/inference/README.md").read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == markdown()
