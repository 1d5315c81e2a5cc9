"""A prepared set that is damaged, or cannot be prepared for want of room, is told by file, in one line."""

import errno
import os
import re
import shutil

import pytest
from test_datasets import Replica, casia_v1

from pimjax.cli import main
from pimjax.data.datasets import catalog, records
from pimjax.data.datasets.catalog import load, prepare
from pimjax.data.images import ImageError
from pimjax.data.sources import SkipUnreadable, TfdsSource


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder for prepared sets, with CASIA v1 in miniature in it."""
    root = tmp_path_factory.mktemp("whole")
    replica = Replica(root / "files")
    casia_v1(replica)
    prepare("casia_v1", replica.root, root / "prepared")
    return root / "prepared"


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of it, and the folder of the set within."""
    shutil.copytree(whole, tmp_path / "copied")
    return tmp_path / "copied", next((tmp_path / "copied").rglob("dataset_info.json")).parent


RECORDS = "casia_v1-test.array_record-00000-of-00001"


def cut(size):
    return lambda file: os.truncate(file, size if size >= 0 else file.stat().st_size + size)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (RECORDS, cut(-1000)),
        (RECORDS, cut(-1)),
        (RECORDS, cut(0)),
        (RECORDS, os.remove),
        ("dataset_info.json", os.remove),
        ("dataset_info.json", cut(200)),
        ("dataset_info.json", cut(0)),
        ("dataset_info.json", lambda file: file.write_text("{}")),
    ],
)
def test_a_set_that_lacks_something_is_refused_by_file(name, damage, copied):
    root, folder = copied
    damage(folder / name)
    again = rf"{name}: .*; delete {folder} and prepare it again: pimjax prepare-data casia_v1 --from DIR"
    with pytest.raises(ValueError, match=again) as raised:
        load("casia_v1", data_dir=root)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=again):  # and is not taken for prepared
        prepare("casia_v1", "nowhere", root)


def test_what_tfds_does_not_need_may_be_missing(copied):
    root, folder = copied
    for file in (folder / "features.json", folder / "metadata.json"):
        cut(20)(file)
        assert len(load("casia_v1", data_dir=root)) == 7
        file.unlink()
    assert len(load("casia_v1", data_dir=root)) == 7


@pytest.mark.parametrize("place", [100, 300, 2000])
def test_a_damaged_record_is_skipped_as_a_broken_image_is(place, copied):
    root, folder = copied
    content = bytearray((folder / RECORDS).read_bytes())
    content[place] ^= 0xFF
    (folder / RECORDS).write_bytes(content)
    source = TfdsSource(load("casia_v1", data_dir=root), "tfds:casia_v1:test")
    broken = [index for index in range(7) if isinstance(read(source, index), ImageError)]
    assert 1 <= len(broken) < 7
    said = str(read(source, broken[0]))
    assert said.startswith(f"{folder / RECORDS}: damaged, tfds:casia_v1:test number {broken[0]} cannot be read; ")
    assert "prepare the dataset again" in said and "\n" not in said
    assert said in SkipUnreadable(source)[broken[0]]["skipped"]


def read(source, index):
    try:
        return source[index]
    except ImageError as error:
        return error


@pytest.mark.parametrize("damage", [os.remove, cut(20), cut(0), lambda file: file.write_text("[]")])
def test_findings_that_are_lost_are_told(damage, copied):
    root, folder = copied
    damage(folder / "metadata.json")
    with pytest.raises(ValueError, match=rf"metadata\.json: missing or damaged; delete {folder} and prepare it again"):
        prepare("casia_v1", "nowhere", root)


@pytest.fixture
def in_several_files(tmp_path, monkeypatch):
    """The folder for prepared sets, and the files of a set of three."""
    monkeypatch.setattr(catalog.CasiaV1, "FILE_BYTES", 2000)
    replica = Replica(tmp_path / "files")
    casia_v1(replica)
    prepare("casia_v1", replica.root, tmp_path / "prepared")
    files = sorted((tmp_path / "prepared").rglob("*array_record*"))
    assert len(files) >= 3
    return tmp_path / "prepared", files


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("damage", [cut(-1000), cut(0), lambda file: file.write_bytes(bytes(file.stat().st_size))])
def test_of_several_files_the_damaged_one_is_named(which, damage, in_several_files):
    root, files = in_several_files
    damage(files[which])
    with pytest.raises(ValueError, match=f"{files[which].name}: 0 records can be read, [1-9] were written; delete"):
        load("casia_v1", data_dir=root)


class FullDisk:
    """ArrayRecordWriter where something is wrong with the disk: it tells when it is closed."""

    number = written = 0

    def __init__(self, path, options):
        self.path = path

    def write(self, record):
        FullDisk.written += 1

    def ok(self):
        return False

    def close(self):
        raise RuntimeError(f"write() failed: {os.strerror(self.number)}; writing {self.path}; at byte 1048576")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "correct the permissions"),
        (errno.EROFS, "correct the path"),
    ],
)
def test_a_disk_that_refuses_records_is_told_by_file_and_remedy(number, remedy, tmp_path, monkeypatch, capsys):
    replica = Replica(tmp_path / "files")
    casia_v1(replica)
    monkeypatch.setattr(records, "ArrayRecordWriter", FullDisk)
    monkeypatch.setattr(FullDisk, "number", number)
    monkeypatch.setattr(FullDisk, "written", 0)
    assert main(["prepare-data", "casia_v1", "--from", str(replica.root), "--to", str(tmp_path / "to")]) == 1
    printed = capsys.readouterr().err.splitlines()[-1]
    place = rf"error: {tmp_path}/to/casia_v1/.*/test\.0: cannot be written \({os.strerror(number)}\); {remedy}"
    assert re.match(place, printed)
    assert FullDisk.written == 1  # not on and on


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EACCES, "correct the permissions"), (errno.EROFS, "correct the path")],
)
def test_a_disk_that_refuses_other_files_is_told_likewise(number, remedy, tmp_path, monkeypatch, capsys):
    replica = Replica(tmp_path / "files")
    casia_v1(replica)

    def fail(*arguments):
        raise OSError(number, os.strerror(number), str(tmp_path / "to/x"))

    monkeypatch.setattr(catalog.CasiaV1, "_write_split", fail)
    assert main(["prepare-data", "casia_v1", "--from", str(replica.root), "--to", str(tmp_path / "to")]) == 1
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.startswith(f"error: {tmp_path}/to/x: cannot be written ({os.strerror(number)}); {remedy}")


def test_other_errors_of_a_preparation_stay_what_they_are(tmp_path, monkeypatch):
    replica = Replica(tmp_path / "files")
    casia_v1(replica)

    def fail(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied", str(replica.root / "Au/x.jpg"))

    monkeypatch.setattr(catalog.CasiaV1, "_write_split", fail)
    with pytest.raises(PermissionError, match=r"Au/x\.jpg"):
        prepare("casia_v1", replica.root, tmp_path / "to")
