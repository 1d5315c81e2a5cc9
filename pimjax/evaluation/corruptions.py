"""Robustness corruptions: what is done to the test images, and how strongly. Numpy and OpenCV.

`CORRUPTIONS` holds them by name. A perturbation comes before any other resizing of the image. The mask stays as it is:
a map is brought to the mask's size for scoring, also that of an image that "resize" has changed in size.

Noise is drawn from the generator that the caller gives. Callers seed it by the image's id and the level, that an
image meets the same noise whatever else is evaluated, and in whatever order.

Blur, noise, JPEG and gamma have the field's levels; the field scales by 0.25..1.75, the steps of a quarter are
pimjax's choice, and so are "webp", "avif", "rescale" and those of `pimjax.evaluation.sent_again`: what happens to
pictures that are sent and saved again. Of the family
of nine levels each (brightness, contrast, dithering, JPEG 2000, pink noise) the kinds are the field's, levels and
definitions pimjax's.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from pimjax.evaluation import sent_again
from pimjax.evaluation.corruption_levels import LEVELS

Encode = Callable[[np.ndarray, float], bytes]
Apply = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


class Corruption(NamedTuple):
    """One way to perturb, at several levels."""

    unit: str  # of the levels
    levels: tuple[float, ...]  # in the order of a table
    apply: Apply  # (uint8 RGB [H, W, 3], level, rng) → uint8 RGB; of the same size, unless said otherwise
    encode: Encode | None = None  # (image, level) → the JPEG file whose pixels these are, for who reads coefficients
    cuts: bool = False  # as many rows and columns as `level` says are gone at top and left, of the mask, too


def blur(image: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian whose kernel has an odd `side` in pixels; σ is OpenCV's: 0.3·((side − 1)/2 − 1) + 0.8."""
    return cv2.GaussianBlur(image, (int(side), int(side)), 0)


def noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise, independent per pixel and channel, of standard deviation `deviation` in gray levels."""
    return _to_uint8(image + deviation * rng.standard_normal(image.shape, np.float32))


def noise_variance(image: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    """Add `noise` of a variance, in gray levels squared."""
    return noise(image, variance**0.5, rng)


def decoded(encode: Encode) -> Apply:
    """Return the corruption that gives the pixels of what `encode` makes."""
    return lambda image, level, rng: sent_again.decode(encode(image, level))


def webp(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Compress as lossy WebP at `quality` 1..100, libwebp's scale; sides up to 16,383 pixels."""
    return _through(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, int(quality))


def avif(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Compress as AVIF at `quality` 0..100; OSError where OpenCV was built without it."""
    return _through(image, ".avif", cv2.IMWRITE_AVIF_QUALITY, int(quality))


def screenshot(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Show it on a screen, scaled by `factor`, and save that without loss."""
    return sent_again.screenshot(image, factor)


def gamma(image: np.ndarray, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Change gray levels to 255·(v/255)^exponent, rounded: below 1 brighter, above 1 darker."""
    return _to_uint8(255 * (np.arange(256) / 255) ** exponent)[image]


def resize(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Scale both sides by `factor`, linearly, without antialiasing, as OpenCV does by default."""
    H, W, _ = image.shape
    return cv2.resize(image, (max(1, round(W * factor)), max(1, round(H * factor))), interpolation=cv2.INTER_LINEAR)


def rescale(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Scale by `factor` and back to the image's size: by area to the smaller, bicubically to the larger."""
    H, W, _ = image.shape
    size = max(1, round(W * factor)), max(1, round(H * factor))
    ways = (cv2.INTER_AREA, cv2.INTER_CUBIC) if factor < 1 else (cv2.INTER_CUBIC, cv2.INTER_AREA)
    return cv2.resize(cv2.resize(image, size, interpolation=ways[0]), (W, H), interpolation=ways[1])


def brightness(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Add `shift` gray levels to every channel, clipped to 0..255."""
    return _to_uint8(np.arange(256) + shift)[image]


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Scale the distance from middle gray, 127.5, by `factor`: gray levels rounded and clipped."""
    return _to_uint8(127.5 + factor * (np.arange(256) - 127.5))[image]


def dithering(image: np.ndarray, count: float, rng: np.random.Generator) -> np.ndarray:
    """Keep `count` (2..256) evenly spaced gray levels per channel, the error diffused (Floyd and Steinberg, 1976)."""
    H, W, _ = image.shape
    step = 255 / (int(count) - 1)
    # Padded by what errors reach beyond the borders. All pixels with the same x + 2y depend on none of one another.
    work = np.zeros((H + 1, W + 2, 3))
    work[:H, 1:-1] = image
    for diagonal in range(W + 2 * H - 2):
        y = np.arange(max(0, (diagonal - W + 2) // 2), min(H, diagonal // 2 + 1))
        x = diagonal - 2 * y + 1
        wanted = work[y, x]
        given = np.clip(np.rint(wanted / step), 0, int(count) - 1) * step
        work[y, x] = given
        for down, right, weight in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
            work[y + down, x + right] += weight / 16 * (wanted - given)
    return _to_uint8(work[:H, 1:-1])


def jpeg2000(image: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Compress as JPEG 2000 to 1/`ratio` of the uncompressed size, as far as that pays for the headers.

    Sides of less than 32 pixels, which the encoder's six resolutions need, are continued to that and cut again.
    """
    H, W, _ = image.shape
    larger = cv2.copyMakeBorder(image, 0, max(0, 32 - H), 0, max(0, 32 - W), cv2.BORDER_REPLICATE)
    return _through(larger, ".jp2", cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, round(1000 / ratio))[:H, :W]


def pink_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise of power spectral density 1/f, independent per channel, of `deviation` in gray levels.

    f is the radial frequency, in cycles per pixel; the mean is zero. Each channel is scaled to its deviation exactly.
    """
    H, W, _ = image.shape
    f = np.hypot(np.fft.fftfreq(H)[:, None], np.fft.rfftfreq(W))
    f[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((3, H, W))) / np.sqrt(f)
    pink = np.fft.irfft2(spectrum, (H, W))
    pink /= pink.std(axis=(1, 2), keepdims=True)
    return _to_uint8(image + deviation * np.moveaxis(pink, 0, -1))


def _through(image: np.ndarray, suffix: str, setting: int, value: int) -> np.ndarray:
    """Return the image after encoding and decoding. OSError if this OpenCV cannot write the format."""
    try:
        done, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [setting, value])
    except cv2.error:  # which a build without the format raises
        done, encoded = False, None
    if not done or encoded is None:
        raise OSError(f"this OpenCV cannot write {suffix}; install opencv-python from PyPI")
    return cv2.cvtColor(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_APPLY: dict[str, Apply] = {
    "blur": blur,
    "noise": noise,
    "noise-variance": noise_variance,
    "webp": webp,
    "avif": avif,
    "screenshot": screenshot,
    "gamma": gamma,
    "resize": resize,
    "rescale": rescale,
    "brightness-up": brightness,
    "brightness-down": brightness,
    "contrast": contrast,
    "dithering": dithering,
    "jpeg2000": jpeg2000,
    "pink-noise": pink_noise,
}
_ENCODE: dict[str, Encode] = {
    "jpeg": sent_again.encode_jpeg,
    "double-jpeg": sent_again.encode_twice,
    "grid-shift": sent_again.encode_cut,
    "scaled-jpeg": sent_again.encode_scaled,
    "facebook": sent_again.encode_facebook,
    "whatsapp": sent_again.encode_whatsapp,
}
_APPLY |= {name: decoded(encode) for name, encode in _ENCODE.items()}
CORRUPTIONS = {
    name: Corruption(of.unit, of.usual, _APPLY[name], _ENCODE.get(name), cuts=name == "grid-shift")
    for name, of in LEVELS.items()
}
