"""Decoding photographs and masks, whatever their format, and writing pictures."""

import os
from typing import NamedTuple

import cv2
import numpy as np

from pimjax.data.damage import damage
from pimjax.data.headers import MAX_PIXELS, Header, ImageError, open_lazily, read_bytes, read_header, require_few
from pimjax.data.headers import SUFFIXES as SUFFIXES
from pimjax.data.mask_checks import color_fault, transparency_fault
from pimjax.files import write_bytes

SMALLEST = 4  # pixels a side: one patch of the model
_DIM = 8192  # of 65,535: the largest value of an image of 13 bits, of which 8 bits leave 32 gray levels

# What OpenCV logs lacks the file's name; what is wrong is found out, and said with it, here.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode_image(encoded: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return an encoded photograph as uint8 RGB [H, W, 3]; `name` stands in messages.

    Converted: gray and palette images to RGB; 16-bit images by dropping the low byte; CMYK to RGB; transparency is
    dropped (the color below it stays). The pixels stay as stored, which is the grid that masks are drawn on: the EXIF
    orientation is not applied.

    Raises:
        ImageError: not a decodable image, damaged (`pimjax.data.damage`), smaller than 4×4 pixels, or of more than
            `max_pixels`; or a TIFF stored turned, which OpenCV does not leave as it is.
    """
    return _decode_photo(encoded, name, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, max_pixels)


class DecodedPhoto(NamedTuple):
    """A photo's pixels, how to turn them, and what whoever reads a result of it must know."""

    pixels: np.ndarray  # uint8 RGB [H, W, 3], as stored
    orientation: int = 1  # EXIF, 1 … 8: how `turn_upright` turns it, and maps of it, upright
    notes: tuple[str, ...] = ()  # sentences without the file's name, such as "its largest value is 4,095 of 65,535"


def decode_photo(encoded: bytes, name: str, max_pixels: int = MAX_PIXELS) -> DecodedPhoto:
    """Decode as `decode_image` does, keeping the EXIF orientation. A TIFF comes upright, with orientation 1."""
    header = read_header(encoded, name)
    if header.format == "TIFF":
        pixels = _decode_photo(encoded, name, cv2.IMREAD_COLOR, max_pixels)
        return DecodedPhoto(pixels, notes=photo_notes(encoded, header, pixels))
    pixels = decode_image(encoded, name, max_pixels)
    return DecodedPhoto(pixels, header.orientation, photo_notes(encoded, header, pixels))


def photo_notes(encoded: bytes, header: Header, pixels: np.ndarray) -> tuple[str, ...]:
    """Return what whoever reads a result must know of a sound photo, as of `DecodedPhoto.notes`."""
    if header.bits != 16 or int(pixels.max()) >= _DIM >> 8:
        return ()
    values = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if values is None or not (largest := int(values.max())):
        return ()
    bits = next(bits for bits in (8, 10, 12, 13) if largest < 1 << bits)
    return (
        f"its largest value is {largest:,} of 65,535: a {bits}-bit image, nearly black to the model; scale it to 16 "
        f"bits (multiply its values by {1 << (16 - bits)})",
    )


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels [H, W, …] as stored upright, [H, W, …] or [W, H, …]; orientations other than 1 … 8 turn nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return np.ascontiguousarray(pixels[::-1] if orientation in (3, 4, 7, 8) else pixels)


def _decode_photo(encoded: bytes, name: str, flags: int, max_pixels: int) -> np.ndarray:
    image = cv2.cvtColor(_decode(encoded, name, flags, max_pixels), cv2.COLOR_BGR2RGB)
    H, W, _ = image.shape
    if min(H, W) < SMALLEST:
        raise ImageError(f"{name}: {W}×{H} pixels, smaller than the model's {SMALLEST}×{SMALLEST} patch; remove it")
    return image


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read and decode a file, as `decode_image` does."""
    return decode_image(read_bytes(path), str(path))


def decode_mask(encoded: bytes, name: str) -> np.ndarray:
    """Return an encoded mask as uint8 [H, W], 255 = manipulated, 0 = not; `name` stands in messages.

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
    """Return an encoded mask as it is stored: any integer dtype, [H, W] or RGB [H, W, 3], without transparency.

    A palette's indices become its colors. ImageError as for `decode_image`.
    """
    return _opaque(_decode(encoded, name, cv2.IMREAD_UNCHANGED))


def _opaque(values: np.ndarray) -> np.ndarray:
    """Take transparency from OpenCV's channels: [H, W] or RGB [H, W, 3]."""
    if values.ndim == 2:
        return values
    if values.shape[2] <= 2:
        return values[..., 0]
    return values[..., 2::-1]


def decode_labels(encoded: bytes, name: str) -> np.ndarray:
    """Return an encoded label map as int32 [H, W]: gray levels, a palette's indices, or one number for each color.

    ImageError as for `decode_image`.
    """
    header = read_header(encoded, name)
    if header.mode == "P":
        _require_sound(encoded, header, name, MAX_PIXELS)
        try:
            return np.asarray(open_lazily(encoded)).astype(np.int32)
        except Exception as error:  # whatever a damaged file does to a decoder
            raise ImageError(f"{name}: cannot be decoded ({error}); save it anew or remove it") from None
    values = decode_values(encoded, name).astype(np.int32)
    return values if values.ndim == 2 else values @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _decode(encoded: bytes, name: str, flags: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    header = read_header(encoded, name)
    if header.format == "TIFF" and header.orientation != 1 and flags != cv2.IMREAD_COLOR:
        raise ImageError(f"{name}: a TIFF stored turned, which OpenCV cannot leave as it is; save it anew, upright")
    _require_sound(encoded, header, name, max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(
            f"{name}: damaged, or a {header.format} of a kind that OpenCV does not decode ({header.mode}, "
            f"{header.bits} bits); save it anew as PNG, or remove it"
        )
    return image


def _require_sound(encoded: bytes, header: Header, name: str, max_pixels: int) -> None:
    require_few(header, name, max_pixels)
    if what := damage(encoded, header):
        raise ImageError(f"{name}: damaged or cut off: {what}; get it anew, or remove it")


def write_png(path: str | os.PathLike, image: np.ndarray, ours: bool = False) -> None:
    """Write uint8 [H, W] or RGB [H, W, 3] as PNG; `ours` and errors are those of `pimjax.files.write_bytes`."""
    write_bytes(path, encode_png(image), ours)


def encode_png(image: np.ndarray) -> memoryview:
    """Return uint8 or uint16 [H, W], or uint8 RGB [H, W, 3], as an encoded PNG."""
    ok, encoded = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise OSError("PNG encoding failed")
    return encoded.data
