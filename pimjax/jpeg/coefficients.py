"""The quantized coefficients and steps of luma that a JPEG file stores, as CAT-Net reads them."""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def read_coefficients(file: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return luma's quantized coefficients, int32 [8⌈H/8⌉, 8⌈W/8⌉], and its steps, float32 [8, 8].

    Entry (8i + u, 8j + v) is that of frequency (u, v) of block (i, j). Nothing is decoded but the entropy code. Other
    formats than JPEG have none: see `as_jpeg`.

    Raises:
        ValueError: the package pyjpegio (extra "jpeg") is not installed, or it cannot read the file.
    """
    try:
        import jpegio
    except ModuleNotFoundError:
        raise ValueError("this model reads JPEG's coefficients; pip install 'pimjax[jpeg]'") from None
    with tempfile.TemporaryDirectory(prefix="pimjax-") as folder:  # the package takes paths alone
        path = Path(folder, "photo.jpg")
        path.write_bytes(file)
        try:
            stored = jpegio.read(str(path))
            steps = stored.quant_tables[stored.comp_info[0].quant_tbl_no]
            return np.array(stored.coef_arrays[0], np.int32), np.array(steps, np.float32)
        except Exception as error:  # whatever a reader of foreign files raises
            raise ValueError(f"the photo's JPEG coefficients cannot be read ({error})") from None


def as_jpeg(file: bytes, pixels: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return a file as JPEG, and its pixels: itself if it is one, else its pixels saved at quality 100 and 4:4:4.

    The authors of CAT-Net do the same: a picture that is no JPEG has no compression to be read.
    """
    if file[:3] == b"\xff\xd8\xff" and Image.open(io.BytesIO(file)).format == "JPEG":
        return file, pixels
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=100, subsampling=0)
    content = stream.getvalue()
    return content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
