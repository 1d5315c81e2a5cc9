"""What is known of one example after decoding it: facts, no judgment. See `check_facts` for that."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from pimjax.data.images import ImageError, decode_image, decode_mask, photo_notes, read_header
from pimjax.data.mask_checks import gray_share
from pimjax.data.sources import Encoded, Source, align_mask, decode_segments
from pimjax.data_checks.mask_alignment import mask_alignment


@dataclasses.dataclass(frozen=True)
class Facts:
    """One example. Fields that could not be found out because of `error` keep their defaults."""

    index: int  # in its source
    id: str
    error: str = ""  # why it cannot be used
    format: str = ""  # of the image file
    mode: str = ""  # Pillow's: "RGB", "L", "P", "CMYK", "RGBA", "I;16", …
    width: int = 0  # pixels
    height: int = 0
    bits: int = 8  # per channel
    orientation: int = 1  # EXIF
    notes: tuple[str, ...] = ()  # on the image's values, as of `pimjax.data.images.photo_notes`
    marked: float | None = None  # share of the image that the mask marks; None: no mask, hence authentic
    gray: float = 0.0  # share of the mask's values that are neither near black nor near white
    mask_format: str = ""
    mask_size: tuple[int, int] | None = None  # width and height where they are not the image's
    mask_alignment: float | None = None  # how well the mask's outline follows the image; see `mask_alignment`
    perceptual_hash: bytes = b""  # 32 bytes; those of two copies of one picture differ in few bits


def read_facts(source: Source, index: int) -> Facts:
    """Decode one example and say what there is. Bad data never raises: it becomes `Facts.error`."""
    facts = Facts(index, f"{source.name}, number {index}")
    try:
        encoded = source.encoded(index)
        facts = dataclasses.replace(facts, id=encoded.id)
        header = read_header(encoded.image, encoded.id)
        facts = dataclasses.replace(
            facts,
            format=header.format,
            mode=header.mode,
            width=header.width,
            height=header.height,
            bits=header.bits,
            orientation=header.orientation,
        )
        image = decode_image(encoded.image, encoded.id)
        notes = photo_notes(encoded.image, header, image)
        facts = dataclasses.replace(facts, perceptual_hash=perceptual_hash(image), notes=notes)
        if encoded.segments is not None:
            decode_segments(encoded, image)  # raises where they cannot be used
        return facts if encoded.mask is None else _with_mask(facts, encoded, image)
    except ImageError as error:
        return dataclasses.replace(facts, error=str(error))


def _with_mask(facts: Facts, encoded: Encoded, image: np.ndarray) -> Facts:
    file = encoded.mask or b""
    stored = decode_mask(file, encoded.mask_id)
    mask = align_mask(stored, image, encoded)
    return dataclasses.replace(
        facts,
        marked=float((mask > 127).mean()),
        mask_format=read_header(file, encoded.mask_id).format,
        gray=gray_share(stored),
        mask_size=None if stored.shape == image.shape[:2] else stored.shape[::-1],
        mask_alignment=mask_alignment(image, mask > 127),
    )


def perceptual_hash(image: np.ndarray) -> bytes:
    """Return 256 bits: whether each of 16×16 cells of a uint8 RGB image [H, W, 3] is darker than its right neighbor.

    Empty for an image of so little contrast that nothing tells it from others.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    cells = cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA)
    return b"" if cells.std() < 3 else np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def read_all_facts(source: Source, indices: Sequence[int] | None = None, threads: int = 2) -> Iterator[Facts]:
    """Return `read_facts` of all examples, or of those named, in their order."""
    with ThreadPoolExecutor(threads) as pool:  # OpenCV decodes without holding Python's lock
        yield from pool.map(lambda index: read_facts(source, index), range(len(source)) if indices is None else indices)


def near_duplicates(some: Sequence[bytes], others: Sequence[bytes], most: int = 12) -> list[tuple[int, int]]:
    """Return pairs (i, j) of perceptual hashes that differ in at most `most` of their 256 bits; empty ones match none.

    Of many equal ones, each is paired with the first. Fingerprints are compared only if two of their 32 bytes in a row,
    from an even place, agree: of 16 such pieces, 12 bits can spoil 12.
    """
    ours, theirs = _places(some), _places(others)
    pieces: dict[tuple[int, bytes], list[bytes]] = defaultdict(list)
    for print_ in theirs:
        for start in range(0, 32, 2):
            pieces[start, print_[start : start + 2]].append(print_)
    pairs = set()
    for print_, here in ours.items():
        found = (pieces.get((start, print_[start : start + 2]), ()) for start in range(0, 32, 2))
        # A piece that a great many share, such as a clear sky's, tells nothing; the other pieces do.
        near = {other for group in found if len(group) <= 500 for other in group}
        for other in near | ({print_} & theirs.keys()):
            if (int.from_bytes(print_) ^ int.from_bytes(other)).bit_count() <= most:
                there = theirs[other]
                pairs |= {(here[0], j) for j in there} | {(i, there[0]) for i in here}
    return sorted(pairs)


def _places(prints: Sequence[bytes]) -> dict[bytes, list[int]]:
    places: dict[bytes, list[int]] = defaultdict(list)
    for index, print_ in enumerate(prints):
        if print_:
            places[print_].append(index)
    return places
