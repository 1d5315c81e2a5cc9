"""What is not read is named at once: pipes, devices, bombs, formats of others; and 16 bits that hold fewer."""

import io
import json
import os
import socket
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from pimjax.cli import main
from pimjax.config.load import read_config
from pimjax.data.images import ImageError, decode_image, decode_photo, read_bytes
from pimjax.data.registry import load_source
from pimjax.inference.inputs import find_photos, read_list

CASES = Path(__file__).parent / "cases"
PHOTO = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8), (0, 0), 2)
JPEG = cv2.imencode(".jpg", PHOTO)[1].tobytes()


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A folder with a photo, and what is no file but is called as one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.jpg").write_bytes(JPEG)
    os.mkfifo("pipe.jpg")
    os.symlink("pipe.jpg", "link.jpg")
    os.symlink("/dev/zero", "zero.jpg")
    os.mkdir("folder.jpg")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket.jpg")
    yield tmp_path
    listening.close()


ODD = {"pipe": "a named pipe", "link": "a named pipe", "zero": "a device", "folder": "a folder", "socket": "a socket"}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_regular_file_is_named_and_never_opened(name, odd):
    with pytest.raises(ImageError, match=rf"{name}\.jpg: {ODD[name]}, not a file; give a regular file"):
        read_bytes(f"{name}.jpg")


def test_a_pipe_is_named_wherever_it_is_listed(odd):
    for photo in find_photos(["pipe.jpg", "link.jpg"]):
        with pytest.raises(ImageError, match="a named pipe"):
            photo.read()
    with pytest.raises(OSError, match=r"pipe\.jpg: a named pipe"):
        read_list(Path("pipe.jpg"))
    with pytest.raises(ValueError, match=r"pipe\.jpg: a named pipe"):
        read_config("pipe.jpg")
    Path("s.csv").write_text("image,mask\npipe.jpg,\nok.jpg,link.jpg\n")
    source = load_source("csv:s.csv")
    for number in range(2):
        with pytest.raises(ImageError, match="a named pipe"):
            source[number]


def test_a_list_handed_over_by_the_shell_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"a.jpg\nb.jpg\n")
    os.close(writing)
    assert read_list(Path(f"/dev/fd/{reading}")) == ["a.jpg", "b.jpg"]
    os.close(reading)


def test_files_beyond_a_limit_and_impossible_names_are_refused(odd):
    assert read_bytes("ok.jpg", max_bytes=len(JPEG)) == JPEG
    with pytest.raises(ImageError, match=r"ok\.jpg: larger than the limit"):
        read_bytes("ok.jpg", max_bytes=len(JPEG) - 1)
    with pytest.raises(ImageError, match="null byte"):
        read_bytes("f0\0.jpg")


@pytest.mark.parametrize("file", sorted((CASES / "B10_21kB_177_megapixels").glob("*.*g")), ids=lambda file: file.name)
def test_images_of_more_pixels_than_the_limit_are_not_decoded(file, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=rf"{file.name}: .* pixels, more than 100 million; scale it down, or allow"):
        decode_photo(file.read_bytes(), file.name)


def test_the_limit_of_pixels_is_the_callers():
    with pytest.raises(ImageError, match=r"ok\.jpg: 60×40 pixels, more than 0.0023 million"):
        decode_photo(JPEG, "ok.jpg", max_pixels=2300)
    assert decode_image(JPEG, "ok.jpg", max_pixels=2400).shape == (40, 60, 3)


def test_a_jpeg_that_claims_more_than_its_bytes_hold_is_refused(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    at = JPEG.index(b"\xff\xc0") + 5
    claims = JPEG[:at] + struct.pack(">HH", 9000, 9000) + JPEG[at + 4 :]
    for encoded, name in ((claims, "a.jpg"), ((CASES / "B10_21kB_177_megapixels/q.jpg").read_bytes(), "q.jpg")):
        with pytest.raises(ImageError, match=rf"{name}: .*which [\d,]+ bytes cannot hold"):
            decode_image(encoded, name, max_pixels=10**9)


def with_frame(marker: int, precision: int = 8) -> bytes:
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 1] + bytes([marker]) + JPEG[at + 2 : at + 4] + bytes([precision]) + JPEG[at + 5 :]


def saved(format: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, format, **settings)
    return file.getvalue()


def raw_tiff(tag: int, value: int | bytes) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[tag] = value
    return saved("TIFF", tiffinfo=info)


def box(*brands: bytes) -> bytes:
    content = b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return struct.pack(">I", 4 + len(content)) + content + bytes(100)


NOT_READ = {
    "HEIC": box(b"heic", b"mif1", b"heic"),
    "AVIF": box(b"mif1", b"avif", b"miaf"),
    "CR3": box(b"crx ", b"crx "),
    "GIF": saved("GIF"),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "JPEG XL": b"\xff\x0a" + bytes(100),
    "PNM": b"P6\n60 40\n255\n" + PHOTO.tobytes(),
    "a 12-bit JPEG": with_frame(0xC1, 12),
    "a lossless JPEG": with_frame(0xC3),
    "an arithmetic-coded JPEG": with_frame(0xC9),
    "a hierarchical JPEG": with_frame(0xC5),
    "CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(100),
    r"a camera's raw file \(DNG": raw_tiff(50706, b"\1\4\0\0"),
    r"a camera's raw file \(DNG, NEF": raw_tiff(254, 1),
}


@pytest.mark.parametrize("kind", NOT_READ)
def test_formats_of_others_are_named_and_not_called_damaged(kind):
    """Whatever suffix they have: OpenCV would take a GIF, or a raw file's small preview, for the photo."""
    with pytest.raises(
        ImageError, match=rf"a\.jpg: {kind}.* is not read; convert it to (JPEG or )?PNG losslessly"
    ) as e:
        decode_photo(NOT_READ[kind], "a.jpg")
    assert "damaged" not in str(e.value)


@pytest.mark.parametrize("name", ["a.heic", "b.HEIF"])
def test_heic_given_by_name_is_named(name):
    with pytest.raises(ImageError, match=f"{name}: HEIC is not read; convert it to JPEG or PNG losslessly"):
        decode_photo(read_bytes(CASES / "A28_heic_left_out" / name), name)


def deep(largest: int, suffix: str = ".png") -> bytes:
    values = (PHOTO.astype(np.float64) / PHOTO.max() * largest).round().astype(np.uint16)
    return cv2.imencode(suffix, values)[1].tobytes()


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        ((CASES / "B23_sixteen_bit_grey_low_range/g12.tif").read_bytes(), "3,664 of 65,535: a 12-bit image"),
        (deep(1023), "1,023 of 65,535: a 10-bit image"),
        (deep(255), "255 of 65,535: a 8-bit image"),
        (deep(4000, ".tif"), "4,000 of 65,535: a 12-bit image"),
    ],
    ids=["case", "10 bits", "8 bits", "TIFF in color"],
)
def test_sixteen_bits_that_hold_fewer_are_noted(encoded, what):
    (note,) = decode_photo(encoded, "a.tif").notes
    assert note.startswith(f"its largest value is {what}")
    assert "scale it to 16 bits" in note


def test_sixteen_bits_that_are_used_are_not_noted():
    for encoded in (deep(65535), deep(9000), deep(0), JPEG):
        assert decode_photo(encoded, "a.png").notes == ()


def test_check_data_names_images_that_are_nearly_black(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/deep.png").write_bytes(deep(4095))
    (tmp_path / "photos/ok.jpg").write_bytes(JPEG)
    assert main(["check-data", f"folder:{tmp_path / 'photos'}", "--output", str(tmp_path / "check")]) == 0
    findings = json.loads((tmp_path / "check/check.json").read_text(encoding="utf-8"))["findings"]
    (finding,) = [finding for finding in findings if finding["kind"] == "range"]
    assert len(finding["examples"]) == 1 and "deep.png: its largest value is 4,095" in finding["examples"][0]


def test_damaged_exif_is_no_reason_and_says_nothing(capfd):
    """It says nothing of the pixels."""
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x09" + b"\x01\x12\0\x03" * 3
    encoded = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + JPEG[2:]
    np.testing.assert_array_equal(decode_photo(encoded, "a.jpg").pixels, decode_image(JPEG, "a.jpg"))
    assert capfd.readouterr() == ("", "")
