"""JPEG files as cameras wrote them, cut to squares whose pixels keep sensor and JPEG traces."""

import re
from pathlib import Path

import cv2
import numpy as np

from pimjax.data.datasets.layout import misplaced
from pimjax.data.datasets.manifests import add_file, write_manifest
from pimjax.data.images import ImageError, read_image
from pimjax.terminal import say

SIDE, LEAST, GRID = 1024, 960, 16  # pixels: of a crop, of its shorter side at least, and between a JPEG's MCUs at most
TWO_CROPS = 6_000_000  # pixels of a photograph from which on it gives two
LAYOUT = """Camera originals: 112 JPEG files, almost all of different camera models, as the cameras wrote them.

From github.com/drewnoakes/metadata-extractor-images ("You are free to use these however you wish").

Layout:
    jpg/<camera>.jpg            (also the folder jpg itself)

Only the 112 photographs that pim-small was trained on are used: the others of that folder are smaller, edited, or of no
camera. Crops of 1024×1024 pixels (960 at least), two of a photograph of 6 megapixels, are taken on the file's own grid
of 16 pixels, stored as it is, and kept as PNG: the pixels are those of the JPEG, whose blocks start at the crop's
corner. pim-small itself saw other crops of these photographs, 155, whose places were not recorded."""

# The files' names, in the manifest's order.
ORIGINALS: str = """
Apple iPhone 4; Apple iPhone 4S; Apple iPhone 5; Apple iPhone 6 plus; Apple iPhone 6; Blackberry Z10; Bushnell Trophy
HD Aggressor 119775C firmware BS685BWYx08237; Canon EOS 1000D; Canon EOS 20D (1); Canon EOS 20D (2); Canon EOS 20D
(3); Canon EOS 30D (4); Canon EOS 350D; Canon EOS 450D; Canon IXUS 300; Canon IXUS 430; Canon IXUS 750; Canon IXUS v2;
Canon PowerShot A20; Canon PowerShot A560; Canon PowerShot A610; Canon PowerShot A70; Canon PowerShot A720 IS; Canon
PowerShot A80; Canon PowerShot A85; Canon PowerShot G11; Canon PowerShot G2 (2); Canon PowerShot G2; Canon PowerShot
S40 (2); Canon PowerShot S400; Canon PowerShot SD100; Canon PowerShot SD600; Canon PowerShot SD850 IS; Canon Powershot
A2500; Canon Powershot S90; Casio EX-Z3; Casio QV-3000EX; Epson PhotoPC 3000Z; FujiFilm FinePix F40fd; FujiFilm
FinePix2650; FujiFilm FinePixS5500; FujiFilm MX-1200; HTC One M8; HTC One; HTC TyTN II; Issue 177; Issue 354 (Java);
Kodak DC3400; Kodak DX4330; Kodak DX4900 Zoom; Kodak DX6490; Kodak Easyshare M5370; Kodak PIXPRO AZ521; Kodak PIXPRO
S-1; Kodak Z1012 IS; Kyocera FC-S3; Leica T (Typ 701); Minolta DiMAGE 5; Minolta DiMAGE 7; Minolta DiMAGE 7Hi; Minolta
DiMAGE A1; Minolta DiMAGE EX; Minolta DiMAGE S304; Minolta DiMAGE S404; Minolta DiMAGE X; Motorola XT1068 (Moto G);
Nexus 4; Nikon Coolpix 775; Nikon D100; Nikon D3100; Nikon D40; Nikon D90; Nikon E5700; Nikon E775; Nikon E900 (1);
Nikon E900 (2); Nikon E990; Nikon E995 (iptc); Nokia 3110c (Mobile Phone); Olympus C720UZ; Olympus E-10; Olympus E-20;
Olympus FE230-X790; Olympus PEN E-P3; Olympus S760; Panasonic DMC-FZ18; Panasonic DMC-LC33 (Lumix); Panasonic DMC-LC70
(Lumix); Panasonic DMC-LX3 (Lumix); Panasonic FX7; Panasonic FZ20; Panasonic FZ5; Panasonic LZ2; Panasonic Lumix
DMC-LX7; Pentax Optio 330; Pentax Optio 430; Pentax ist D; Samsung GT-I9100 (Galaxy SII); Samsung GT-I9505 (Galaxy
S4); Samsung S730; Samsung SM-G935L (Galaxy S7 Edge); Samsung SM-J327T1; Samsung SM-N900A (Galaxy Note 3); Sanyo S1;
Sony D5403 (Xperia Z2); Sony DSC-G1; Sony DSC-H9; Sony DSC-P52; Sony DSC-T5; Sony Ericsson C905c; Sony Ericsson U10i;
Sony Mavica
"""


def originals() -> list[str]:
    """Return the names of the photographs, without suffix."""
    return " ".join(ORIGINALS.split()).split("; ")


def prepare_camera_originals(folder: Path, to: Path) -> Path:
    """Write crops of the photographs in `folder` below `to`, and return the manifest image,camera,width,height.

    Raises:
        FileNotFoundError: no such folder, or no usable photograph in it.
        OSError: a file cannot be written, or (ForeignFileError) another is in the way.
    """
    folder = folder / "jpg" if (folder / "jpg").is_dir() else folder
    files = {path.stem: path for path in folder.iterdir() if _is_jpeg(path)} if folder.is_dir() else {}
    rows, left_out = [], {}
    for camera in originals():
        try:
            if camera not in files:
                raise ImageError("not found")
            rows += _write_crops(files[camera], to)
        except ImageError as error:
            left_out[camera] = str(error).removeprefix(f"{folder / camera}.jpg: ")
    if not rows:
        raise misplaced(f"{folder}: holds no camera originals. Place the files so:", LAYOUT)
    for camera, why in left_out.items():
        say(f"left out: {camera}: {why}")
    say(f"camera-originals: {len(rows)} crops of {len(files.keys() - left_out.keys() & set(originals()))} photographs")
    return write_manifest(to / "camera_originals.csv", rows)


def _is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg") and not path.name.startswith(".") and path.is_file()


def _write_crops(path: Path, to: Path) -> list[dict[str, str | int]]:
    """Write the crops of a photograph and return their rows of the manifest; ImageError if it gives none."""
    rows = []
    for number, crop in enumerate(cut(read_image(path), path)):
        name = f"camera_originals/{re.sub(r'[^A-Za-z0-9.-]+', '_', path.stem).strip('_')}_{number}.png"
        png = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[1].tobytes()
        height, width, _ = crop.shape
        rows.append({"image": add_file(to, name, png), "camera": path.stem, "width": width, "height": height})
    return rows


def cut(pixels: np.ndarray, path: Path) -> list[np.ndarray]:
    """Return the crop or the two crops of a photograph [H, W, C], in its middle, side by side along its longer side.

    Raises:
        ImageError: it is too small.
    """
    H, W, _ = pixels.shape
    height, width = (min(SIDE, n // GRID * GRID) for n in (H, W))
    if min(height, width) < LEAST:
        raise ImageError(f"{path}: {W}×{H} pixels, fewer than {LEAST} a side; leave it out")
    count = 2 if H * W >= TWO_CROPS and max(H, W) >= 2 * SIDE else 1
    rows, columns = (1, count) if W >= H else (count, 1)
    top, left = ((n - size) // 2 // GRID * GRID for n, size in ((H, rows * height), (W, columns * width)))
    places = [(top + row * height, left + column * width) for row in range(rows) for column in range(columns)]
    return [pixels[y : y + height, x : x + width] for y, x in places]
