"""Corruptions that are a way through services: saved twice, cut and saved, shown on a screen, sent through a network.

The networks' are simulations, since services change and say nothing of it: they limit the longest side, which is
published (Facebook 2048 pixels: Moltisanti et al., ICIAP 2015; WhatsApp 1600: Giudice et al., ICIAP 2017), and save as
JPEG, on Facebook of quality 71 to 95 by content (Wu et al., CVPR 2022). WhatsApp's qualities are pimjax's choice. What
else they do (sharpening, their own quantization tables) is left out.
"""

import cv2
import numpy as np

LAST_QUALITY = 90  # of the second of two saves
SCALED_QUALITY = 85  # of what was scaled
CUT_QUALITY = 95  # of what was cut
FACEBOOK, WHATSAPP = 2048, 1600  # pixels of the longest side


def encode_jpeg(image: np.ndarray, quality: float) -> bytes:
    """Return a JPEG file of `quality` 1..100, libjpeg's scale; chroma and all else as OpenCV sets them."""
    bgr, settings = cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    return cv2.imencode(".jpg", bgr, settings)[1].tobytes()


def decode(file: bytes) -> np.ndarray:
    """Return the pixels of an encoded picture, uint8 RGB [H, W, 3]."""
    pixels = np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR))
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def encode_twice(image: np.ndarray, quality: float) -> bytes:
    """Return the JPEG file of quality 90 of what was saved at `quality` before, on the same grid."""
    return encode_jpeg(decode(encode_jpeg(image, quality)), LAST_QUALITY)


def encode_cut(image: np.ndarray, pixels: float) -> bytes:
    """Return the JPEG file of quality 95 of an image without its first rows and columns: its former grid is moved.

    Raises:
        ValueError: nothing is left of the image.
    """
    n = int(pixels)
    if n >= min(image.shape[:2]):
        raise ValueError(f"{image.shape[1]}×{image.shape[0]} pixels, of which {n} rows and columns are to be cut off")
    return encode_jpeg(image[n:, n:], CUT_QUALITY)


def encode_scaled(image: np.ndarray, factor: float) -> bytes:
    """Return the JPEG file of quality 85 of an image whose sides are scaled by `factor`, by area or bicubically."""
    return encode_jpeg(screenshot(image, factor), SCALED_QUALITY)


def screenshot(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale both sides by `factor`, by area or bicubically, as a screen shows a photo; it is saved without loss."""
    H, W, _ = image.shape
    return _scaled(image, max(1, round(W * factor)), max(1, round(H * factor)))


def encode_facebook(image: np.ndarray, quality: float) -> bytes:
    """Return the JPEG file of an image whose longest side is at most Facebook's."""
    return encode_jpeg(_at_most(image, FACEBOOK), quality)


def encode_whatsapp(image: np.ndarray, quality: float) -> bytes:
    """Return the JPEG file of an image whose longest side is at most WhatsApp's."""
    return encode_jpeg(_at_most(image, WHATSAPP), quality)


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    H, W, _ = image.shape
    factor = side / max(H, W)
    return image if factor >= 1 else _scaled(image, max(1, round(W * factor)), max(1, round(H * factor)))


def _scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    smaller = width < image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
