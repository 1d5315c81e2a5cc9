"""The small picture that cameras keep in EXIF, beside the photo it should show."""

import io

import cv2
import numpy as np
from PIL import ExifTags, Image

ALIKE = 12.0  # gray levels of mean difference that sharpening, saving and rounding explain


def thumbnail_facts(encoded: bytes, image: Image.Image) -> list[tuple[str, str]]:
    """Return (finding, meaning) of the EXIF thumbnail of a JPEG; [] without one."""
    small = read_thumbnail(image)
    if small is None:
        return []
    H, W, _ = small.shape
    # A photo eight times as large is decoded at an eighth, in little memory.
    large = min(image.width / W, image.height / H) >= 8
    how = cv2.IMREAD_REDUCED_COLOR_8 if large else cv2.IMREAD_COLOR
    photo = cv2.imdecode(np.frombuffer(encoded, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    if photo is None:
        return []
    distance = thumbnail_distance(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), small)
    if distance <= ALIKE:
        what = "it shows the same; programs that edit a photo mostly write it anew"
    else:
        what = "it shows something else: the photo was cut, turned or changed after the thumbnail was made"
    return [(f"{W}×{H} pixels, {distance:.1f} gray levels from the photo on average", what)]


def read_thumbnail(image: Image.Image) -> np.ndarray | None:
    """Return the thumbnail in EXIF's second directory, uint8 RGB [h, w, 3]; None if there is none to be read."""
    place, content = image.getexif().get_ifd(ExifTags.IFD.IFD1), image.info.get("exif", b"")
    start, length = place.get(0x201), place.get(0x202)  # from the beginning of the TIFF part
    if not (isinstance(start, int) and isinstance(length, int)):
        return None
    tiff = content.removeprefix(b"Exif\0\0")
    try:
        return np.asarray(Image.open(io.BytesIO(tiff[start : start + length]), formats=["JPEG"]).convert("RGB"))
    except Exception:  # whatever a damaged one does to a parser
        return None


def thumbnail_distance(photo: np.ndarray, small: np.ndarray) -> float:
    """Return the mean absolute difference in gray levels of a thumbnail and the photo at its size.

    Cameras continue the thumbnail of a wide photo by black bars to 4:3: what they cover is left out.
    """
    h, w, _ = small.shape
    H, W, _ = photo.shape
    scale = min(h / H, w / W)
    inner_h, inner_w = min(h, max(1, round(H * scale))), min(w, max(1, round(W * scale)))
    top, left = (h - inner_h) // 2, (w - inner_w) // 2
    inner = small[top : top + inner_h, left : left + inner_w].astype(np.float32)
    return float(np.abs(cv2.resize(photo, (inner_w, inner_h), interpolation=cv2.INTER_AREA) - inner).mean())
