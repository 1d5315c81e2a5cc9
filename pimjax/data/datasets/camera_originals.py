"""JPEG files as cameras wrote them, cut to squares whose pixels keep sensor and JPEG traces."""

import io
import re
from pathlib import Path

import cv2
from PIL import Image

from pimjax.data.datasets.manifests import add_file, write_manifest
from pimjax.data.images import ImageError, decode_image, read_bytes
from pimjax.terminal import say

SIDE, LEAST, GRID = 1024, 960, 16  # pixels: of a crop, of its shorter side at least, and between a JPEG's MCUs at most
EDITORS = ("photoshop", "gimp", "lightroom", "picasa", "acdsee", "paint", "ninja", "iphoto", "aperture", "imagemagick")
_MAKE, _MODEL, _SOFTWARE, _EXIF, _WIDTH, _HEIGHT = 0x010F, 0x0110, 0x0131, 0x8769, 0xA002, 0xA003  # tags of EXIF
LAYOUT = """Camera originals: JPEG files of about 110 camera models, as the cameras wrote them.

From github.com/drewnoakes/metadata-extractor-images ("free to use these media files however you wish").

Layout:
    jpg/*.jpg           (also the folder jpg itself, or any other folder of camera JPEGs)

Crops of 1024×1024 pixels (960 at least) are taken on the file's own grid of 16 pixels, stored as it is, and kept as
PNG: the pixels are those of the JPEG, whose blocks start at the crop's corner. Left out: files without a camera in
their EXIF, files of another size than their EXIF says, files that an editor names itself in."""


def prepare_camera_originals(folder: Path, to: Path) -> Path:
    """Write crops of the photographs in `folder` below `to`, and return the manifest image,camera,width,height.

    Raises:
        FileNotFoundError: no such folder, or no usable photograph in it.
        OSError: a file cannot be written, or (ForeignFileError) another is in the way.
    """
    folder = folder / "jpg" if (folder / "jpg").is_dir() else folder
    rows, left_out, names = [], {}, set()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in (".jpg", ".jpeg") or path.name.startswith(".") or not path.is_file():
            continue
        try:
            rows += _crops(path, to, names)
        except ImageError as error:
            left_out[path.name] = str(error).removeprefix(f"{path}: ")
    for name, why in left_out.items():
        say(f"left out: {name}: {why}")
    if not rows:
        raise FileNotFoundError(f"{folder}: holds no camera originals. Place the files so:\n{LAYOUT}")
    cameras = len({row["camera"] for row in rows})
    say(f"camera-originals: {len(rows)} crops of {cameras} cameras; {len(left_out)} files left out")
    return write_manifest(to / "camera_originals.csv", rows)


def _crops(path: Path, to: Path, names: set[str]) -> list[dict[str, str | int]]:
    """Write one crop of a photograph, or two of a wide one; ImageError says why it is none to be used."""
    encoded = read_bytes(path)
    camera = _camera(encoded, path)
    pixels = decode_image(encoded, str(path))
    H, W, _ = pixels.shape
    height, width = (min(SIDE, n // GRID * GRID) for n in (H, W))
    if min(height, width) < LEAST:
        raise ImageError(f"{path}: {W}×{H} pixels, fewer than {LEAST} a side; leave it out")
    name, rows = re.sub(r"\W+", "_", path.stem).strip("_"), []
    while name in names:  # "a (1).jpg" beside "a 1.jpg"
        name += "_"
    names.add(name)
    count = 2 if 2 * width <= W else 1
    top, left = (H - height) // 2 // GRID * GRID, (W - count * width) // 2 // GRID * GRID
    for number in range(count):
        x = left + number * width
        crop = cv2.cvtColor(pixels[top : top + height, x : x + width], cv2.COLOR_RGB2BGR)
        file = add_file(to, f"camera_originals/{name}_{number}.png", cv2.imencode(".png", crop)[1].tobytes())
        rows.append({"image": file, "camera": camera, "width": width, "height": height})
    return rows


def _camera(encoded: bytes, path: Path) -> str:
    """Return the camera that a JPEG says it is of; ImageError if it does not look as the camera wrote it."""
    try:
        image = Image.open(io.BytesIO(encoded))
        tags, size, kind = image.getexif(), image.size, image.format
        exif = tags.get_ifd(_EXIF)
    except Exception:  # whatever a damaged file does to a parser
        raise ImageError(f"{path}: damaged, or not a JPEG") from None
    make, model, software = (str(tags.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL, _SOFTWARE))
    if kind not in ("JPEG", "MPO") or not model:
        raise ImageError(f"{path}: names no camera in its EXIF")
    if editor := next((name for name in EDITORS if name in software.lower()), None):
        raise ImageError(f"{path}: was saved by {editor}")
    if (said := (exif.get(_WIDTH), exif.get(_HEIGHT))) not in ((None, None), size):
        raise ImageError(f"{path}: has {size[0]}×{size[1]} pixels, its camera wrote {said[0]}×{said[1]}")
    return model if model.startswith(make) else f"{make} {model}".strip()
