"""What a file is and says of itself, before any pixel is decoded: its format, its size, and what is not read."""

import io
import os
import warnings
from typing import Any, NamedTuple

from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from pimjax.files import MAX_FILE_BYTES, read_regular
from pimjax.jpeg import scans

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MAX_PIXELS = 100_000_000  # of an image that is decoded, unless the caller allows more
_ORIENTATION, _BITS = 0x0112, 0x0102  # tags of TIFF and EXIF
_SUBFILE, _PHOTOMETRIC, _DNG = 254, 262, 50706

# Pillow tells of damaged EXIF blocks and the like without a file's name; the pixels do not depend on them.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageError(ValueError):
    """Say that a file cannot be used as an image; the message names it, what is wrong and what to do."""


class Header(NamedTuple):
    """What a file says of itself before its pixels are decoded."""

    format: str  # "JPEG", "PNG", "TIFF", "BMP" or "WEBP"
    width: int  # pixels as stored
    height: int
    mode: str  # Pillow's: "RGB", "L", "P" (palette), "CMYK", "RGBA", "I;16", …
    bits: int  # per channel, 1..32
    orientation: int  # EXIF, 1..8; 1: as stored


def read_bytes(path: str | os.PathLike, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the file's content; ImageError if it cannot be read, is no regular file, or has more than `max_bytes`."""
    try:
        return read_regular(path, max_bytes)
    except OSError as error:
        raise ImageError(str(error)) from None


_READ = (  # what the file starts with, and Pillow's class
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
_NOT_READ = (  # what the file starts with, and its name
    (b"GIF8", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"II\xbc", "JPEG XR"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"IIRO", "ORF, a camera's raw file,"),
    (b"IIRS", "ORF, a camera's raw file,"),
    (b"MMOR", "ORF, a camera's raw file,"),
    (b"IIU\0", "RW2, a camera's raw file,"),
    (b"FUJIFILMCCD-RAW", "RAF, a camera's raw file,"),
    (b"FOVb", "X3F, a camera's raw file,"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"gimp xcf", "XCF"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"<svg", "SVG"),
    *((b"P%d" % number, "PNM") for number in range(1, 7)),
)
_BRANDS = {  # of the ISO base media file format, in which HEIF files come
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "CR3, a camera's raw file,",
}


def _not_read(encoded: bytes) -> str:
    """Return the name of a known format that is not read, such as "HEIC", or "" if the content is of none."""
    if encoded.startswith(b"\xff\xd8\xff"):
        frame = scans.read_frame(encoded)
        return scans.not_read(frame) if frame else ""
    if encoded[4:8] == b"ftyp":
        brands = [encoded[8:12], *(encoded[at : at + 4] for at in range(16, min(int.from_bytes(encoded[:4]), 64), 4))]
        # Both kinds of HEIF may call themselves mif1; what else they say tells them apart.
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in known else known[0] if known else "a film, or an unknown kind of HEIF,"
    if encoded[:4] in (b"II*\0", b"MM\0*"):
        return "CR2, a camera's raw file," if encoded[8:10] == b"CR" else ""
    return next((name for magic, name in _NOT_READ if encoded.startswith(magic)), "")


def read_header(encoded: bytes, name: str) -> Header:
    """Return the header of an encoded image, without decoding it. `name` stands in messages.

    Raises:
        ImageError: not an image, or one of a format that is not read.
    """
    if kind := _not_read(encoded):
        raise ImageError(f"{name}: {kind} is not read; convert it to JPEG or PNG losslessly")
    try:
        image = open_lazily(encoded)
        header = Header(image.format or "", *image.size, image.mode, _bits(image, encoded), _orientation(image))
        raw = image.format == "TIFF" and _is_raw(image)
    except Exception:  # whatever a damaged file does to a parser
        raise ImageError(
            f"{name}: damaged, or not an image (JPEG, PNG, TIFF, BMP or WebP); save it anew or remove it"
        ) from None
    if raw:
        raise ImageError(f"{name}: a camera's raw file (DNG, NEF, …) is not read; convert it to PNG losslessly")
    return header


def require_few(header: Header, name: str, max_pixels: int) -> None:
    """Raise ImageError if the image has more than `max_pixels` pixels."""
    if header.width * header.height > max_pixels:
        raise ImageError(
            f"{name}: {header.width}×{header.height} pixels, more than {max_pixels / 1e6:g} million; scale it down, or "
            "allow more (predict: with --max-megapixels)"
        )


def open_lazily(encoded: bytes) -> Image.Image:
    """Return Pillow's image of the content, by the format's own class; whatever error the class raises.

    Image.open would try all the parsers that Pillow has, and warn of, or refuse, what has many pixels.
    """
    for magic, kind in _READ:
        if encoded.startswith(magic):
            return kind(io.BytesIO(encoded))
    raise ValueError("no image")


def _bits(image: Image.Image, encoded: bytes) -> int:
    if image.format == "PNG":
        return encoded[24]  # of IHDR, which is always first
    return max(_tiff_tags(image).get(_BITS, (8,))) if image.format == "TIFF" else 8


def _tiff_tags(image: Image.Image) -> Any:
    return image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]  # of TiffImageFile, which Image.open returns


def _orientation(image: Image.Image) -> int:
    try:
        return _exif(image).get(_ORIENTATION, 1)
    except Exception:  # of a damaged block
        return 1


def _exif(image: Image.Image) -> Image.Exif:
    if image.format != "PNG":
        return image.getexif()
    exif = Image.Exif()  # a PNG's getexif() would decode all of its pixels
    exif.load(image.info.get("exif", b""))
    return exif


def _is_raw(image: Image.Image) -> bool:
    """Return whether a TIFF is a camera's raw file: its first image is a small preview, or a color filter array."""
    tags = _tiff_tags(image)
    return _DNG in tags or bool(tags.get(_SUBFILE, 0) & 1) or tags.get(_PHOTOMETRIC) in (32803, 34892)
