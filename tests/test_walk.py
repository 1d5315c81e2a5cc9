"""One walk for all commands: what counts as an image in folders, and that nothing is left out without a word."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from red import Red

from pimjax import Localizer
from pimjax.cli import main
from pimjax.data.datasets.layout import Placed
from pimjax.data.datasets.report import Report
from pimjax.data.images import write_png
from pimjax.data.registry import folder_source, load_source
from pimjax.inference.inputs import find_photos

CASES = Path(__file__).parent / "cases"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A command, `predict` with `Red`, in a new folder → its status, the photos it looked at, what is on stderr."""
    monkeypatch.setattr(Localizer, "load", lambda *arguments: Red())
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        status = main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return status, [line.split("\t")[2] for line in out.splitlines() if "\t" in line][1:], err

    return command


def put(path):
    """A small photo that nobody's record names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path.with_suffix(".png"), np.zeros((8, 8, 3), np.uint8))
    path.with_suffix(".png").rename(path)
    (path.parent / ".pimjax-written.jsonl").unlink()


def everywhere(folder):
    """The images that each of the walkers finds, by their paths below the folder; all must find the same."""
    predicted = [Path(photo.relative_path) for photo in find_photos([str(folder)])]
    sources = [record.image.relative_to(folder) for record in folder_source(folder).records]
    placed = [Path(image.id) for image in Placed(folder, "", "", Report()).images(folder, "")]
    assert predicted == sources == sorted(placed)
    return [path.as_posix() for path in predicted]


def test_what_systems_leave_is_no_photo(run, tmp_path):
    shutil.copytree(CASES / "A27_mac_folder", tmp_path / "D")
    status, photos, err = run("predict", "D", "--write")
    assert (status, photos) == (0, ["D/IMG_1.jpg"])
    assert "5 files and folders of systems and programs were left out: ._IMG_1.jpg, .thumbnails, @eaDir" in err
    assert run("predict", "D/**/*.jpg", "--write", "--output", "other")[:2] == (0, ["D/IMG_1.jpg"])
    for name in (".DS_Store", "desktop.ini", ".hidden.jpg", "deep/ehthumbs.db", "deep/#recycle/b.jpg", "deep/._a.png"):
        (tmp_path / "D" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "D" / name).write_bytes(b"")
    assert everywhere(tmp_path / "D") == ["IMG_1.jpg"]


def test_photos_that_are_not_read_are_counted(run, tmp_path):
    shutil.copytree(CASES / "A28_heic_left_out", tmp_path / "D")
    status, photos, err = run("predict", "D", "--write")
    assert (status, photos) == (0, ["D/00.jpg", "D/e.jfif"])
    counts = (
        "7 files were not looked at: 1 .avif, 1 .dng, 1 .gif, 1 .heic, 1 .heif, 1 .jp2, 1 without a suffix (convert"
    )
    assert counts in err and "1 file is no image" in err  # README
    assert everywhere(tmp_path / "D") == ["00.jpg", "e.jfif"]
    assert counts in run("check-data", "folder:D")[2]
    assert counts in folder_source(tmp_path / "D").passed_over
    # Where it is the results' folder, too; a pattern means only what is like it.
    assert counts in run("predict", "D", "--output", "D", "--write")[2]
    assert "not looked at" not in run("predict", "D/*.jpg", "--write", "--output", "other")[2]
    assert "1 .gif" in run("predict", "D/d.*", "D/*.jpg", "--write", "--output", "other")[2]


@pytest.mark.parametrize("name", ["a.jpg_original", "a.jpg.download", "a", "b.CR2", "b.jxl", "webp.tmp"])
def test_photos_are_known_by_suffix_or_content(tmp_path, name):
    content = {"b": b"", "w": b"RIFF\0\0\0\0WEBP"}.get(name[0], b"\xff\xd8\xff\xe0")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no photographs .* \(1 file was not looked at: 1 "):
        folder_source(tmp_path)


def test_a_pipe_without_a_suffix_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path / "a.jpg")
    assert folder_source(tmp_path).passed_over == "1 file is no image"


def test_linked_folders_are_followed_once(run, tmp_path):
    folder = tmp_path / "D"
    put(folder / "real/a.jpg")
    put(tmp_path / "elsewhere/deep/b.jpg")
    for link, target in (
        ("a_link", "real"),  # comes before what it leads to
        ("loop", "."),
        ("real/up", ".."),
        ("out", tmp_path / "elsewhere"),
        ("out_again", tmp_path / "elsewhere"),
        ("all", tmp_path),
    ):
        (folder / link).symlink_to(target)
    found = everywhere(folder)
    assert sorted(name.rpartition("/")[2] for name in found) == ["a.jpg", "b.jpg"]
    assert "real/a.jpg" in found
    said = folder_source(folder).passed_over
    assert "links lead to folders that were looked at" in said and str(folder / "a_link") in said
    for pattern in ("D/**/*.jpg", "D/**"):
        assert len(run("predict", pattern, "--write", "--output", "o" + str(len(pattern)))[1]) == 2


def test_folders_named_as_images_are_folders(run, tmp_path):
    put(tmp_path / "D/x.jpg/deep/a.jpg")
    put(tmp_path / "D/b.jpg")
    assert everywhere(tmp_path / "D") == ["b.jpg", "x.jpg/deep/a.jpg"]
    for number, what in enumerate(("D", "D/*.jpg", "D/**/*.jpg")):
        status, photos, _ = run("predict", what, "--write", "--output", f"out{number}")
        assert (status, photos) == (0, ["D/b.jpg", "D/x.jpg/deep/a.jpg"]), what


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    put(tmp_path / "a.jpg")
    put(tmp_path / "secret/b.jpg")
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert folder_source(tmp_path).passed_over.startswith(f"1 folder cannot be opened: {tmp_path / 'secret'}")


def test_results_are_not_photos_whatever_links_lead_to_them(run, tmp_path):
    put(tmp_path / "D/a.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "D/link").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        run("predict", "D", "--output", "elsewhere/results")
        assert [photo.relative_path for photo in find_photos(["D"], {}, Path("elsewhere/results"))] == ["a.jpg"]


def test_pairs_are_of_images_only(tmp_path):
    put(tmp_path / "Tp/a.jfif")
    put(tmp_path / "Tp/@eaDir/a.jpg/x.jpg")
    put(tmp_path / "Gt/a_gt.png")
    (tmp_path / "Tp/b.heic").write_bytes(b"")
    (tmp_path / "Gt/._a_gt.png").write_bytes(b"")
    source = load_source(f"pairs:{tmp_path}")
    assert [record.image.name for record in source.records] == ["a.jfif"]
    assert "1 .heic" in source.passed_over and "2 files and folders of systems" in source.passed_over
