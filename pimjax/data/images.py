"""Reading photographs and masks from disk, whatever their format, and writing pictures."""

import os
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".bmp", ".webp"})
SMALLEST = 4  # pixels a side: one patch of the model


class ImageError(ValueError):
    """A file that cannot be used as an image; the message names it, what is wrong and what to do."""


def read_image(path: str | os.PathLike, upright: bool = False) -> np.ndarray:
    """The photograph at `path` as uint8 RGB [H, W, 3].

    Converted: grey and palette images to RGB; 16-bit images by dropping the low byte; CMYK to RGB; transparency is
    dropped (the colour below it stays). `upright` applies the EXIF orientation; without it the pixels stay as
    stored, which is the grid that masks are drawn on.

    Raises:
        ImageError: the file is missing, not a decodable image, or smaller than 4×4 pixels.
    """
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.cvtColor(_decode(path, flags), cv2.COLOR_BGR2RGB)
    H, W, _ = image.shape
    if min(H, W) < SMALLEST:
        raise ImageError(f"{path}: {W}×{H} pixels, smaller than the model's {SMALLEST}×{SMALLEST} patch; remove it")
    return image


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """The mask at `path` as uint8 [H, W], 255 = manipulated, 0 = not.

    Several channels are averaged, as the released preprocessing does; 16 bits are reduced to 8; transparency is
    ignored. A mask whose largest value is 1 is read as 0/1 and scaled to 0/255.

    Raises:
        ImageError: the file is missing, not a decodable image, or has values but none above 127 (such as a
            colour-coded mask).
    """
    mask = _decode(path, cv2.IMREAD_UNCHANGED)
    if mask.dtype == np.uint16 and mask.max() > 255:
        mask = (mask >> 8).astype(np.uint8)
    elif mask.dtype not in (np.uint8, np.uint16, bool):
        raise ImageError(f"{path}: a mask of {mask.dtype} values; save it as 8-bit, 0 and 255")
    if mask.ndim == 3:
        # Two or four channels: the last one is transparency.
        mask = mask[..., : mask.shape[2] - (mask.shape[2] in (2, 4))].mean(-1)
    mask = np.rint(mask * 255.0 if mask.max() == 1 else mask).astype(np.uint8)
    if 0 < mask.max() <= 127:
        raise ImageError(
            f"{path}: its largest value is {mask.max()}, so nothing counts as manipulated; save it as 8-bit, 0 and 255"
        )
    return mask


def _decode(path: str | os.PathLike, flags: int) -> np.ndarray:
    try:
        encoded = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); correct the path or the permissions") from None
    image = None
    if encoded:
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error as error:
            raise ImageError(f"{path}: cannot be decoded ({error.err}); save it anew or remove it") from None
    if image is None:
        raise ImageError(
            f"{path}: damaged, or not an image that OpenCV decodes (JPEG, PNG, TIFF, BMP, WebP); "
            "save it anew or remove it"
        )
    return image


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes uint8 [H, W] or RGB [H, W, 3] as PNG; missing folders are made. OSError if that fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, encoded = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise OSError(f"{path}: PNG encoding failed")
    path.write_bytes(encoded.tobytes())
