"""Predictions as pictures: labeled contact sheets and overlays. uint8 RGB arrays."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

_INK, _PAPER = (32, 32, 32), 255


def heat(probability: np.ndarray) -> np.ndarray:
    """Color a probability [H, W] in 0..1 black through red and yellow to white: uint8 RGB [H, W, 3]."""
    gray = np.clip(np.rint(probability * 255), 0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(gray, cv2.COLORMAP_HOT), cv2.COLOR_BGR2RGB)


def overlay(photo: np.ndarray, probability: np.ndarray, threshold: float = 0.5, opacity: float = 0.6) -> np.ndarray:
    """Tint the photo, uint8 [H, W, 3], red by probability [H, W], and outline the region above `threshold`.

    `opacity` in 0..1 is that of the tint where the probability is 1.
    """
    tinted = np.empty(photo.shape, np.uint8)
    for rows in strips(len(photo)):
        alpha = opacity * np.clip(probability[rows], 0, 1)[..., None]
        tinted[rows] = np.rint((1 - alpha) * photo[rows] + alpha * np.array((255, 32, 32)))
    region = (probability > threshold).view(np.uint8)
    outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(min(photo.shape[:2]) / 300))
    return cv2.drawContours(tinted, outlines, -1, (255, 255, 0), thickness)


def strips(height: int, rows: int = 128) -> Iterator[slice]:
    """Yield slices of so many rows: a large picture's arithmetic needs no copies of the whole."""
    yield from (slice(y, y + rows) for y in range(0, height, rows))


def contact_sheet(
    columns: Mapping[str, Sequence[np.ndarray]],
    row_labels: Sequence[str] = (),
    cell: int = 160,
    title: str = "",
    names: Mapping[str, Sequence[str]] | None = None,
) -> np.ndarray:
    """Draw a table of pictures with a label over each column and a line of text under each row, or under each picture.

    Args:
        columns: label → one picture per row: uint8 RGB [H, W, 3], or [H, W] in 0..1 shown as gray.
        row_labels: a caption per row, or none.
        cell: side of a picture on the sheet, in pixels.
        title: a line on top.
        names: label → a name under each picture of that column, in place of `row_labels`; shortened to fit.

    Returns:
        uint8 RGB.
    """
    gap, line = 6, 22
    rows = len(next(iter(columns.values())))
    step = cell + gap + (line if len(row_labels) or names else 0)
    top = gap + line * (2 if title else 1)
    sheet = np.full((top + rows * step, gap + len(columns) * (cell + gap), 3), _PAPER, np.uint8)
    if title:
        _text(sheet, title, gap, line - 6)
    for c, (label, pictures) in enumerate(columns.items()):
        x = gap + c * (cell + gap)
        _text(sheet, label, x, top - 8)
        for r, picture in enumerate(pictures):
            y = top + r * step
            sheet[y : y + cell, x : x + cell] = _scaled_into(picture, cell)
        for r, name in enumerate((names or {}).get(label, ())):
            _text(sheet, _shortened(name, cell), x, top + r * step + cell + 15)
    for r, label in enumerate(row_labels):
        _text(sheet, label, gap, top + r * step + cell + 15)
    return sheet


def _scaled_into(picture: np.ndarray, cell: int) -> np.ndarray:
    if picture.ndim == 2:
        picture = cv2.cvtColor(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    H, W, _ = picture.shape
    scale = cell / max(H, W)
    size = (max(1, round(W * scale)), max(1, round(H * scale)))
    # Enlarged pixels stay visible as squares: a map is shown at the resolution it has.
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)
    return cv2.copyMakeBorder(
        picture, 0, cell - size[1], 0, cell - size[0], cv2.BORDER_CONSTANT, value=(_PAPER, _PAPER, _PAPER)
    )


_FONT = {"fontFace": cv2.FONT_HERSHEY_SIMPLEX, "fontScale": 0.42, "thickness": 1}


def _text(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, _drawable(text), (x, y), color=_INK, lineType=cv2.LINE_AA, **_FONT)


def _drawable(text: str) -> str:
    """Return the letters that OpenCV can draw: accents are left out, what is not Latin is escaped."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    shown = plain.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _shortened(text: str, width: int) -> str:
    """Return text that is at most `width` pixels wide when drawn; where it is wider, its middle is left out."""
    whole = shown = _drawable(text)
    kept = len(whole)
    while cv2.getTextSize(shown, **_FONT)[0][0] > width and kept:
        kept -= 1
        shown = f"{whole[: kept // 2]}...{whole[len(whole) - (kept + 1) // 2 :]}"
    return shown
