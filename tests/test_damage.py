"""A damaged image is refused whatever its decoder makes of it, and a sound one, however odd, is decoded as before."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pimjax.data.images import ImageError, decode_image, decode_mask, decode_photo, decode_values

CASES = Path(__file__).parent / "cases"
RNG = np.random.default_rng(0)
PHOTO = cv2.GaussianBlur(RNG.integers(0, 256, (160, 240, 3), np.uint8), (0, 0), 2)
KINDS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0, "quality": 95},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 3},
}


def save(mode="RGB", format="JPEG", photo=PHOTO, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).convert(mode).save(file, format, **settings)
    return file.getvalue()


JPEGS = {name: save(**settings) for name, settings in KINDS.items()} | {
    "gray": save("L"),
    "gray progressive": save("L", progressive=True),
    "CMYK": save("CMYK"),
    "CMYK progressive": save("CMYK", progressive=True),
    "RGB inside": save(keep_rgb=True),
}


def data_of(jpeg: bytes) -> tuple[int, int]:
    """Where the first scan's data begin, and the marker that ends the picture."""
    start = jpeg.index(b"\xff\xda")
    return start + 2 + int.from_bytes(jpeg[start + 2 : start + 4]), jpeg.rindex(b"\xff\xd9")


def frame_of(jpeg: bytes) -> int:
    return next(at for marker in (b"\xff\xc0\0", b"\xff\xc2\0") if (at := jpeg.find(marker)) > 0)


def with_height(jpeg: bytes, change: int) -> bytes:
    at = frame_of(jpeg) + 5
    height = int.from_bytes(jpeg[at : at + 2]) + change
    return jpeg[:at] + height.to_bytes(2) + jpeg[at + 2 :]


def half(jpeg: bytes) -> int:
    """A place in the middle of the data."""
    return sum(data_of(jpeg)) // 2


DAMAGE = {
    "cut": lambda jpeg: jpeg[: half(jpeg)],
    "cut, and ended": lambda jpeg: jpeg[: half(jpeg)] + b"\xff\xd9",
    "its second half zeros": lambda jpeg: jpeg[: half(jpeg)] + bytes(data_of(jpeg)[1] - half(jpeg)) + b"\xff\xd9",
    "another behind": lambda jpeg: jpeg[: half(jpeg)] + JPEGS["baseline"],
    "a sector gone": lambda jpeg: jpeg[: half(jpeg)] + jpeg[half(jpeg) + 512 :],
    "a sector of zeros": lambda jpeg: jpeg[: half(jpeg)] + bytes(512) + jpeg[half(jpeg) + 512 :],
    "taller": lambda jpeg: with_height(jpeg, 40),
    "lower": lambda jpeg: with_height(jpeg, -40),
    "without data": lambda jpeg: jpeg[: data_of(jpeg)[0]] + b"\xff\xd9",
}


def assert_refused(encoded, capfd, name="a.jpg", match="damaged"):
    for decode in (decode_image, decode_photo, decode_values, decode_mask):
        with pytest.raises(ImageError, match=rf"{name}: .*{match}"):
            decode(encoded, name)
    assert capfd.readouterr() == ("", "")  # nothing from a library, which would lack the name


@pytest.mark.parametrize("file", sorted((CASES / "B05_jpeg_half_missing").glob("*.jpg")), ids=lambda file: file.stem)
def test_jpegs_of_which_half_is_missing_are_refused(file, capfd):
    assert_refused(file.read_bytes(), capfd, file.name)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", JPEGS)
def test_damaged_jpegs_are_refused(kind, damage, capfd):
    assert_refused(DAMAGE[damage](JPEGS[kind]), capfd)


def test_a_progressive_jpeg_without_its_last_scans_is_refused(capfd):
    whole = JPEGS["progressive"]
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    for scan in scans[1:]:
        table = whole.rindex(b"\xff\xc4", 0, scan)
        end = table if table > scans[scans.index(scan) - 1] else scan
        assert_refused(whole[:end] + b"\xff\xd9", capfd)


def test_a_jpeg_without_one_of_its_restart_intervals_is_refused(capfd):
    whole = JPEGS["restarts"]
    first, second = whole.index(b"\xff\xd1"), whole.index(b"\xff\xd2")
    assert_refused(whole[:first] + whole[second:], capfd)
    assert_refused(whole[:first] + whole[second:].replace(b"\xff\xd2", b"\xff\xd1"), capfd)


FLAT = [np.full((160, 240, 3), color, np.uint8) for color in (0, 128, 255, (9, 200, 40))]
SOUND = {
    "plain": lambda jpeg: jpeg,
    "a file behind": lambda jpeg: jpeg + JPEGS["baseline"],
    "zeros behind": lambda jpeg: jpeg + bytes(4096),
    "padded with zeros": lambda jpeg: jpeg[: data_of(jpeg)[1]] + bytes(500) + jpeg[data_of(jpeg)[1] :],
    "filled up": lambda jpeg: jpeg[: data_of(jpeg)[1]] + b"\xff" * 20 + jpeg[data_of(jpeg)[1] :],
    "a thumbnail": lambda jpeg: jpeg[:2] + b"\xff\xe1\x40\x02" + JPEGS["gray"][:0x4000].ljust(0x4000) + jpeg[2:],
}


@pytest.mark.parametrize("oddity", SOUND)
@pytest.mark.parametrize("kind", JPEGS)
def test_sound_jpegs_are_decoded_as_opencv_does(kind, oddity):
    encoded = SOUND[oddity](JPEGS[kind])
    expected = cv2.imdecode(np.frombuffer(JPEGS[kind], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode_image(encoded, "a.jpg"), expected)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_flat_pictures_are_sound(settings):
    """Of which optimized files are zeros for the most part."""
    for photo in FLAT:
        for height in (8, 9, 160):
            assert decode_image(save(photo=photo[:height], **settings), "a.jpg").shape == (height, 240, 3)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def png_of(parts) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def test_damaged_pngs_are_refused(capfd):
    whole = cv2.imencode(".png", PHOTO)[1].tobytes()
    parts = chunks(whole)
    assert png_of(parts) == whole and len(parts) > 4
    data = [number for number, (kind, _) in enumerate(parts) if kind == b"IDAT"]
    at = whole.rindex(b"IEND") - 8  # of the last data's checksum
    for damaged in (
        whole[: len(whole) // 2],
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
        whole[:5000] + bytes(512) + whole[5512:],
        whole[: at + 4],
        png_of(parts[: data[-1]] + parts[data[-1] + 1 :]),
        png_of([*parts[: data[1]], (b"IDAT", b""), *parts[data[1] + 1 :]]),
    ):
        assert_refused(damaged, capfd, "a.png")
    sound = png_of([*parts[:-1], (b"tEXt", b"a\0b"), parts[-1]])
    np.testing.assert_array_equal(decode_image(sound + b"behind", "a.png"), PHOTO[..., ::-1])
    assert_refused(sound.replace(b"a\0b", b"a\0c"), capfd, "a.png")


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg"])
def test_damaged_tiffs_are_refused(compression):
    whole = save(format="TIFF", compression=compression)
    image = Image.open(io.BytesIO(whole))
    starts, sizes = image.tag_v2[273], image.tag_v2[279]
    assert decode_image(whole, "a.tif").shape == PHOTO.shape
    # A strip that its directory puts, or that reaches, beyond the end.
    last = struct.pack("<I", starts[-1]), struct.pack("<I", sizes[-1])
    damaged = [whole[: len(whole) // 2]]
    for value in last if compression else last[:1]:  # what a single strip needs is known
        at = whole.rindex(value)
        damaged.append(whole[:at] + struct.pack("<I", len(whole) - 40) + whole[at + 4 :])
    middle = starts[0] + sizes[0] // 2
    if compression in ("tiff_adobe_deflate", "tiff_lzw"):
        damaged.append(whole[:middle] + bytes(300) + whole[middle + 300 :])
    for content in damaged:
        with pytest.raises(ImageError, match=r"a\.tif: .*damaged"):
            decode_image(content, "a.tif")


@pytest.mark.parametrize("lossless", [False, True])
def test_damaged_webp_is_refused(lossless, capfd):
    whole = save(format="WEBP", lossless=lossless)
    size = len(whole)
    for damaged in (
        whole[: size // 2],
        whole[:4] + struct.pack("<I", size // 2 - 8) + whole[8 : size // 2],
        whole[: size // 2] + bytes(size - size // 2),
    ):
        assert_refused(damaged, capfd, "a.webp")


def test_damaged_bmp_is_refused(capfd):
    whole = save(format="BMP")
    taller = whole[:22] + struct.pack("<i", 161) + whole[26:]
    for damaged in (whole[:-1], whole[: len(whole) // 2], taller):
        assert_refused(damaged, capfd, "a.bmp")
    assert decode_image(whole + b"behind", "a.bmp").shape == PHOTO.shape
