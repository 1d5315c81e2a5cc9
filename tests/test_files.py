"""Writing: whole or not at all, never over what is not ours, one at a time."""

import errno
import os

import pytest

from pimjax import files
from pimjax.files import RECORD, ForeignFileError, atomic_path, claim, lock_file, printable, write_bytes, write_text


def test_our_own_files_are_replaced_and_others_are_not(tmp_path):
    write_text(tmp_path / "new/a.txt", "first")
    write_text(tmp_path / "new/a.txt", "second")
    assert (tmp_path / "new/a.txt").read_text() == "second"
    (tmp_path / "mine.png").write_bytes(b"truth")
    (tmp_path / "link.png").symlink_to(tmp_path / "new/a.txt")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "new/a.txt").write_text("corrected by hand")
    for name in ("mine.png", "link.png", "folder.png", "new/a.txt"):
        with pytest.raises(ForeignFileError, match=name.rpartition("/")[2]):
            write_bytes(tmp_path / name, b"result")
    assert (tmp_path / "mine.png").read_bytes() == b"truth"
    assert (tmp_path / "new/a.txt").read_text() == "corrected by hand"


def test_a_file_that_a_row_names_is_ours_unless_it_was_changed_since(tmp_path):
    (tmp_path / "a.png").write_bytes(b"by an older pimjax")
    write_bytes(tmp_path / "a.png", b"anew", ours=True)
    (tmp_path / "a.png").write_bytes(b"corrected by hand")
    with pytest.raises(ForeignFileError, match="was changed after"):
        write_bytes(tmp_path / "a.png", b"again", ours=True)


def test_a_write_that_fails_leaves_the_older_file_and_says_what_to_do(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "first")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_note", full)
    with pytest.raises(OSError, match=r"a\.txt: cannot be written \(No space left on device\); make room"):
        write_text(tmp_path / "a.txt", "second")
    assert (tmp_path / "a.txt").read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == [RECORD, "a.txt"]


def test_a_kill_between_record_and_name_leaves_files_that_can_be_replaced(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "first")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "second")
    monkeypatch.undo()
    with (tmp_path / RECORD).open("ab") as record:
        record.write(b'\n{"file": "a.t')  # and one in the midst of a line
    write_text(tmp_path / "a.txt", "third")
    write_text(tmp_path / "a.txt", "fourth")
    assert (tmp_path / "a.txt").read_text() == "fourth"


def test_a_library_writes_under_a_name_of_the_same_suffix(tmp_path):
    with atomic_path(tmp_path / "a.svg") as temporary:
        assert temporary.suffix == ".svg"
        temporary.write_text("<svg/>")
        assert not (tmp_path / "a.svg").exists()
    claim(tmp_path / "a.svg")
    with pytest.raises(ValueError, match="broken"), atomic_path(tmp_path / "a.svg") as temporary:
        temporary.write_text("half")
        raise ValueError("broken")
    assert (tmp_path / "a.svg").read_text() == "<svg/>"


def test_a_lock_is_held_once(tmp_path, monkeypatch):
    with (
        lock_file(tmp_path / ".lock", "taken"),
        pytest.raises(ValueError, match="taken"),
    ):
        lock_file(tmp_path / ".lock", "taken")
    monkeypatch.setattr(files, "fcntl", None)  # Windows
    with lock_file(tmp_path / ".lock", "taken"), lock_file(tmp_path / ".lock", "taken"):
        pass


def test_control_characters_are_shown_and_text_is_kept():
    assert printable("a\x1b[31mé\n\t\x07\u202e\udcff b") == r"a\x1b[31mé\n\t\x07\u202e\udcff b"


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_record_that_is_no_file_is_told_and_not_waited_for(kind, tmp_path):
    (os.mkfifo if kind == "pipe" else os.mkdir)(tmp_path / RECORD)
    with pytest.raises(OSError, match=f"a.txt: cannot be written .{RECORD} beside it is no regular file"):
        write_text(tmp_path / "a.txt", "first")


def test_what_is_no_row_is_not_taken_for_one_that_was_cut_off(tmp_path):
    (tmp_path / "rows.jsonl").write_text("my own notes")
    with pytest.raises(ValueError, match="line 1: damaged"):
        files.read_rows(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_text('{"number": 1}\n{"numb')
    assert files.read_rows(tmp_path / "rows.jsonl") == ({1: {"number": 1}}, 14)
