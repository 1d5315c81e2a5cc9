"""Decoding photographs and masks, whatever their format, and writing pictures."""

import io
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from pimjax.data.mask_checks import color_fault, transparency_fault
from pimjax.files import write_bytes

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp"})
SMALLEST = 4  # pixels a side: one patch of the model
_ORIENTATION, _BITS = 0x0112, 0x0102  # tags of TIFF and EXIF


class ImageError(ValueError):
    """A file that cannot be used as an image; the message names it, what is wrong and what to do."""


class Header(NamedTuple):
    """What a file says of itself before its pixels are decoded."""

    format: str  # "JPEG", "PNG", …
    width: int  # pixels as stored
    height: int
    mode: str  # Pillow's: "RGB", "L", "P" (palette), "CMYK", "RGBA", "I;16", …
    bits: int  # per channel, 1..32
    orientation: int  # EXIF, 1..8; 1: as stored
    end: int  # where Pillow stopped reading, in bytes


def read_bytes(path: str | os.PathLike) -> bytes:
    """The file's content; ImageError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); correct the path or the permissions") from None


def read_header(encoded: bytes, name: str) -> Header:
    """The header of an encoded image, without decoding it. `name` stands in messages.

    Raises:
        ImageError: not an image, or of more pixels than Pillow takes for harmless (179 million).
    """
    stream = io.BytesIO(encoded)
    try:
        image = Image.open(stream)
        return Header(image.format, *image.size, image.mode, _bits(image, encoded), _orientation(image), stream.tell())
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name}: claims more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, as decompression bombs do; "
            "scale it down or remove it"
        ) from None
    except Exception:  # whatever a damaged file does to a parser
        raise ImageError(
            f"{name}: damaged, or not an image (JPEG, PNG, TIFF, BMP or WebP); save it anew or remove it"
        ) from None


def _bits(image: Image.Image, encoded: bytes) -> int:
    if image.format == "PNG":
        return encoded[24]  # of IHDR, which is always first
    return max(image.tag_v2.get(_BITS, (8,))) if image.format == "TIFF" else 8


def _orientation(image: Image.Image) -> int:
    if image.format != "PNG":
        return image.getexif().get(_ORIENTATION, 1)
    exif = Image.Exif()  # a PNG's getexif() would decode all of its pixels
    exif.load(image.info.get("exif", b""))
    return exif.get(_ORIENTATION, 1)


def decode_image(encoded: bytes, name: str) -> np.ndarray:
    """An encoded photograph as uint8 RGB [H, W, 3]; `name` stands in messages.

    Converted: grey and palette images to RGB; 16-bit images by dropping the low byte; CMYK to RGB; transparency is
    dropped (the colour below it stays). The pixels stay as stored, which is the grid that masks are drawn on: the EXIF
    orientation is not applied.

    Raises:
        ImageError: not a decodable image, cut off, smaller than 4×4 pixels, or too large (`read_header`); or a TIFF
            stored turned, which OpenCV does not leave as it is.
    """
    return _decode_photo(encoded, name, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


class DecodedPhoto(NamedTuple):
    """A photo's pixels, how to turn them, and what whoever reads a result of it must know."""

    pixels: np.ndarray  # uint8 RGB [H, W, 3], as stored
    orientation: int = 1  # EXIF, 1 … 8: how `turn_upright` turns it, and maps of it, upright
    notes: tuple[str, ...] = ()  # sentences without the file's name, such as "its largest value is 4,095 of 65,535"


def decode_photo(encoded: bytes, name: str) -> DecodedPhoto:
    """Decode as `decode_image` does, keeping the EXIF orientation. A TIFF comes upright, with orientation 1."""
    header = read_header(encoded, name)
    if header.format == "TIFF":
        return DecodedPhoto(_decode_photo(encoded, name, cv2.IMREAD_COLOR))
    return DecodedPhoto(decode_image(encoded, name), header.orientation)


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [H, W, …] as stored → upright, [H, W, …] or [W, H, …]; orientations but 1 … 8 turn nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return np.ascontiguousarray(pixels[::-1] if orientation in (3, 4, 7, 8) else pixels)


def _decode_photo(encoded: bytes, name: str, flags: int) -> np.ndarray:
    image = cv2.cvtColor(_decode(encoded, name, flags), cv2.COLOR_BGR2RGB)
    H, W, _ = image.shape
    if min(H, W) < SMALLEST:
        raise ImageError(f"{name}: {W}×{H} pixels, smaller than the model's {SMALLEST}×{SMALLEST} patch; remove it")
    return image


def read_image(path: str | os.PathLike) -> np.ndarray:
    """`decode_image` of a file."""
    return decode_image(read_bytes(path), str(path))


def decode_mask(encoded: bytes, name: str) -> np.ndarray:
    """An encoded mask as uint8 [H, W], 255 = manipulated, 0 = not; `name` stands in messages.

    Several channels are averaged, as the released preprocessing does; 16 bits are reduced to 8; transparency is
    ignored. A mask whose largest value is 1 is read as 0/1 and scaled to 0/255.

    Raises:
        ImageError: not a decodable image, color-coded, transparent instead of white, or it has values but none above
            127.
    """
    values = _decode(encoded, name, cv2.IMREAD_UNCHANGED)
    if fault := transparency_fault(values):
        raise ImageError(f"{name}: {fault}")
    stored = mask = _opaque(values)
    if mask.dtype == np.uint16 and mask.max() > 255:
        mask = (mask >> 8).astype(np.uint8)
    elif mask.dtype not in (np.uint8, np.uint16, bool):
        raise ImageError(f"{name}: a mask of {mask.dtype} values; save it as 8-bit, 0 and 255")
    if mask.ndim == 3:
        mask = mask.mean(-1)
    mask = np.rint(mask * 255.0 if mask.max() == 1 else mask).astype(np.uint8)
    if 0 < mask.max() <= 127:
        raise ImageError(
            f"{name}: its largest value is {mask.max()}, so nothing counts as manipulated; save it as 8-bit, 0 and 255"
        )
    if fault := color_fault(stored):
        raise ImageError(f"{name}: {fault}")
    return mask


def decode_values(encoded: bytes, name: str) -> np.ndarray:
    """An encoded mask as it is stored: any integer dtype, [H, W] or RGB [H, W, 3], without transparency.

    A palette's indices become its colours. ImageError as for `decode_image`.
    """
    return _opaque(_decode(encoded, name, cv2.IMREAD_UNCHANGED))


def _opaque(values: np.ndarray) -> np.ndarray:
    """OpenCV's channels → [H, W] or RGB [H, W, 3], without transparency."""
    if values.ndim == 2:
        return values
    if values.shape[2] <= 2:
        return values[..., 0]
    return values[..., 2::-1]


def decode_labels(encoded: bytes, name: str) -> np.ndarray:
    """An encoded label map as int32 [H, W]: grey levels, a palette's indices, or one number for each colour.

    ImageError as for `decode_image`.
    """
    if read_header(encoded, name).mode == "P":
        try:
            return np.asarray(Image.open(io.BytesIO(encoded))).astype(np.int32)
        except Exception as error:  # whatever a damaged file does to a decoder
            raise ImageError(f"{name}: cannot be decoded ({error}); save it anew or remove it") from None
    values = decode_values(encoded, name).astype(np.int32)
    return values if values.ndim == 2 else values @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _decode(encoded: bytes, name: str, flags: int) -> np.ndarray:
    header = read_header(encoded, name)
    if header.format == "TIFF" and header.orientation != 1 and flags != cv2.IMREAD_COLOR:
        raise ImageError(f"{name}: a TIFF stored turned, which OpenCV cannot leave as it is; save it anew, upright")
    image = None
    # OpenCV 4 fills what a cut-off JPEG lacks with grey; such a file has no end-of-image marker after its header.
    if header.format != "JPEG" or encoded.find(b"\xff\xd9", header.end) >= 0:
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error as error:
            raise ImageError(f"{name}: cannot be decoded ({error.err}); save it anew or remove it") from None
    if image is None:
        raise ImageError(
            f"{name}: damaged or cut off, or not an image that OpenCV decodes (JPEG, PNG, TIFF, BMP, WebP); "
            "save it anew or remove it"
        )
    return image


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write uint8 [H, W] or RGB [H, W, 3] as PNG; errors are those of `pimjax.files.write_bytes`."""
    write_bytes(path, encode_png(image))


def encode_png(image: np.ndarray) -> memoryview:
    """Return uint8 or uint16 [H, W], or uint8 RGB [H, W, 3], as an encoded PNG."""
    ok, encoded = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise OSError("PNG encoding failed")
    return encoded.data
