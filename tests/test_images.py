"""Every kind of file that users have: converted by a documented rule, or refused in one line."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pimjax.data.images import (
    ImageError,
    decode_labels,
    decode_mask,
    decode_photo,
    read_bytes,
    read_header,
    read_image,
    turn_upright,
    write_png,
)

RNG = np.random.default_rng(0)


def read_mask(path):
    return decode_mask(read_bytes(path), str(path))


PHOTO = cv2.GaussianBlur(RNG.integers(0, 256, (20, 30, 3), np.uint8), (0, 0), 2)


def save(path, array, *settings):
    assert cv2.imwrite(str(path), array, list(settings))
    return path


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF block that holds only the orientation."""
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\x00" * 4
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_lossless_formats_are_read_as_rgb(tmp_path, suffix):
    settings = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()
    path = save(tmp_path / f"a{suffix}", PHOTO[..., ::-1], *settings)
    np.testing.assert_array_equal(read_image(path), PHOTO)


def test_gray_becomes_three_equal_channels(tmp_path):
    image = read_image(save(tmp_path / "gray.png", PHOTO[..., 0]))
    np.testing.assert_array_equal(image, np.repeat(PHOTO[..., :1], 3, axis=2))


def test_transparency_is_dropped(tmp_path):
    alpha = np.dstack([PHOTO[..., ::-1], np.zeros(PHOTO.shape[:2], np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "alpha.png", alpha)), PHOTO)


def test_sixteen_bits_lose_their_low_byte(tmp_path):
    deep = PHOTO[..., ::-1].astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.png", deep)), PHOTO)


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(PHOTO).convert("CMYK").save(tmp_path / "print.jpg", quality=100, subsampling=0)
    difference = np.abs(read_image(tmp_path / "print.jpg").astype(int) - PHOTO)
    assert difference.mean() < 3


def test_palette_becomes_rgb(tmp_path):
    few = (PHOTO // 64) * 64
    Image.fromarray(few).quantize(256).save(tmp_path / "palette.png")
    assert np.abs(read_image(tmp_path / "palette.png").astype(int) - few).max() <= 8


@pytest.mark.parametrize("orientation", range(10))  # 0 and 9 mean nothing
def test_orientation_is_told_and_turned_by_as_pillow_does(orientation, tmp_path):
    ok, jpeg = cv2.imencode(".jpg", PHOTO[..., ::-1])
    path = tmp_path / "rotated.jpg"
    path.write_bytes(with_orientation(jpeg.tobytes(), orientation))
    stored, told, _ = decode_photo(read_bytes(path), "rotated.jpg")
    np.testing.assert_array_equal(stored, read_image(path))
    assert told == orientation
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(turn_upright(stored, told), ImageOps.exif_transpose(image))


def test_a_tiff_stored_turned_is_refused_where_its_mask_would_not_turn(tmp_path):
    """OpenCV applies a TIFF's orientation whatever it is asked for."""
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(PHOTO).save(tmp_path / "a.tif", exif=exif)
    for read in (read_image, read_mask):
        with pytest.raises(ImageError, match=r"a\.tif: a TIFF stored turned"):
            read(tmp_path / "a.tif")
    photo, orientation, _ = decode_photo(read_bytes(tmp_path / "a.tif"), "a.tif")
    assert orientation == 1
    np.testing.assert_array_equal(photo, PHOTO[::-1, ::-1])


def test_label_maps_are_one_number_a_segment(tmp_path):
    labels = np.repeat(np.arange(5, dtype=np.int32), 4).reshape(4, 5)
    palette = Image.fromarray(labels.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0] * 5)  # what colors they have does not matter
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(decode_labels(read_bytes(tmp_path / "p.png"), "p"), labels)
    deep = save(tmp_path / "deep.png", labels.astype(np.uint16) * 300)
    np.testing.assert_array_equal(decode_labels(read_bytes(deep), "d"), labels * 300)
    colored = np.random.default_rng(0).integers(0, 256, (5, 3), np.uint8)[labels]
    found = decode_labels(read_bytes(save(tmp_path / "c.png", colored)), "c")
    assert len(np.unique(found)) == 5
    assert len(np.unique(np.stack([found, labels]).reshape(2, -1), axis=1).T) == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jpg", None, "cannot be read"),
        ("empty.jpg", b"", "damaged, or not an image"),
        ("text.png", b"hello", "damaged, or not an image"),
    ],
)
def test_what_is_no_image_is_refused_by_name(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for read in (read_image, read_mask):
        with pytest.raises(ImageError, match=rf"{name}: .*{message}"):
            read(tmp_path / name)


def test_a_truncated_png_is_refused(tmp_path):
    path = save(tmp_path / "half.png", PHOTO)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match=r"half\.png"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp"])
def test_cut_off_files_are_refused(tmp_path, suffix):
    path = save(tmp_path / f"cut{suffix}", cv2.resize(PHOTO, (200, 150)))
    whole = path.read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError, match=rf"cut\{suffix}: "):
            read_image(path)


def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path):
    """A PNG of a hundred bytes that claims 40,000 × 40,000 pixels."""
    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(ImageError, match=r"bomb\.png: 40000×40000 pixels, more than 100 million"):
        read_image(tmp_path / "bomb.png")


def test_headers_tell_the_orientation():
    ok, jpeg = cv2.imencode(".jpg", PHOTO)
    header = read_header(with_orientation(jpeg.tobytes(), 6), "a")
    assert header[:6] == ("JPEG", 30, 20, "RGB", 8, 6)
    ok, deep = cv2.imencode(".tif", PHOTO.astype(np.uint16))
    assert read_header(deep.tobytes(), "b")[:6] == ("TIFF", 30, 20, "RGB", 16, 1)


def test_an_image_smaller_than_a_patch_is_refused(tmp_path):
    path = save(tmp_path / "dot.png", PHOTO[:3])
    with pytest.raises(ImageError, match=r"dot\.png: 30×3 pixels, smaller than the model's 4×4 patch"):
        read_image(path)


MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 3:6] = 255


@pytest.mark.parametrize(
    "stored",
    [
        MASK,
        MASK // 255,
        MASK.astype(np.uint16) * 257,
        MASK.astype(np.uint16),
        np.repeat(MASK[..., None], 3, axis=2),
        np.dstack([MASK] * 3 + [np.full_like(MASK, 255)]),
    ],
    ids=["0/255", "0/1", "16-bit", "8 bits in 16", "rgb", "rgba"],
)
def test_masks_of_every_kind_are_0_and_255(tmp_path, stored):
    np.testing.assert_array_equal(read_mask(save(tmp_path / "mask.png", stored)), MASK)


def test_mask_channels_are_averaged(tmp_path):
    stored = np.zeros((4, 4, 3), np.uint8)
    stored[0] = (0, 255, 255)
    assert read_mask(save(tmp_path / "mask.png", stored))[0].tolist() == [170] * 4


def test_a_color_coded_mask_is_refused(tmp_path):
    stored = np.zeros((4, 4, 3), np.uint8)
    stored[0] = (0, 0, 128)
    with pytest.raises(ImageError, match=r"mask\.png: its largest value is 43, so nothing counts as manipulated"):
        read_mask(save(tmp_path / "mask.png", stored))


def colored(*colors):
    """A mask with a stripe of each color, RGB, on black."""
    stored = np.zeros((16, 4 * len(colors) + 4, 3), np.uint8)
    for place, color in enumerate(colors):
        stored[:, 4 * place : 4 * place + 4] = color[::-1]
    return stored


@pytest.mark.parametrize(
    "stored",
    [
        colored((255, 0, 0), (255, 255, 255)),
        colored((255, 255, 0), (0, 255, 255)),
        colored((0, 0, 255), (255, 200, 0)),
        colored((255, 255, 0), (255, 255, 255)).astype(np.uint16) * 257,
    ],
    ids=["red and white", "yellow and cyan", "blue and orange", "16 bits"],
)
def test_a_mask_of_several_colors_is_refused(stored, tmp_path):
    with pytest.raises(ImageError, match=r"mask\.png: color-coded; save it as 8-bit gray"):
        read_mask(save(tmp_path / "mask.png", stored))


def test_a_jpeg_mask_with_color_along_its_edges_is_a_mask(tmp_path):
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[20:44, 20:44] = 255
    mask[20, 20] = (0, 0, 255)
    (tmp_path / "mask.jpg").write_bytes(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 40])[1].tobytes())
    assert (read_mask(tmp_path / "mask.jpg") > 127).mean() == pytest.approx(0.14, abs=0.02)


@pytest.mark.parametrize("color", [0, 255])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_drawn_in_transparency_is_refused(color, suffix, tmp_path):
    stored = np.full((16, 16, 4), color, np.uint8)
    stored[..., 3] = 0
    stored[4:8, 4:8, 3] = 255
    with pytest.raises(ImageError, match=rf"mask\.{suffix}: only its transparency tells parts apart"):
        read_mask(save(tmp_path / f"mask.{suffix}", stored))


def test_pictures_are_written_as_they_are(tmp_path):
    write_png(tmp_path / "new" / "a.png", PHOTO)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), PHOTO)
