"""The PIDA family: perturbations that leave the content alone and break the relation of neighboring pixels.

Each is a pure function (uint8 RGB image [H, W, 3], rng) → (the perturbed image, likewise, and its parameters).
The ranges are pimjax's own choice: the paper's public text fixes none.
"""

import io

import cv2
import numpy as np
from PIL import Image

from pimjax.jpeg.dct import LUMA
from pimjax.jpeg.tables import CHROMA_TABLE, LUMA_TABLE, scaled

Perturbed = tuple[np.ndarray, dict[str, float]]


CHROMA = (444, 422, 420)  # how chroma is sampled, as J:a:b


def jpeg(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Compress as JPEG: quality 30..90, the 8×8 grid shifted by 0..7 pixels per axis, chroma 4:4:4, 4:2:2 or 4:2:0."""
    quality, (dy, dx) = int(rng.integers(30, 91)), rng.integers(0, 8, 2).tolist()
    parameters = {"quality": quality, "chroma": CHROMA[rng.integers(3)], "dy": dy, "dx": dx}
    return compress(image, **parameters), parameters


def compress(
    image: np.ndarray, quality: int, chroma: int = 420, dy: int = 0, dx: int = 0, flatness: float = 1.0
) -> np.ndarray:
    """Compress a uint8 RGB image [H, W, 3] as JPEG, its 8×8 grid starting (dy, dx) pixels outside the image.

    `quality` 1..100 scales the standard tables of quantization steps; `flatness` below 1 makes steps more alike, at
    about the same mean, as many programs' own tables are. `chroma` is one of `CHROMA`.
    """
    H, W, _ = image.shape
    padded = cv2.copyMakeBorder(image, dy, 0, dx, 0, cv2.BORDER_REPLICATE)
    if flatness == 1:
        sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{chroma}")
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        _, encoded = cv2.imencode(".jpg", padded[..., ::-1], settings)
    else:  # OpenCV writes no tables but the standard ones
        stream = io.BytesIO()
        tables = [scaled(table, quality, flatness).tolist() for table in (LUMA_TABLE, CHROMA_TABLE)]
        Image.fromarray(padded).save(stream, "JPEG", qtables=tables, subsampling=CHROMA.index(chroma))
        encoded = np.frombuffer(stream.getbuffer(), np.uint8)
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return decoded[dy : dy + H, dx : dx + W, ::-1]


def noise(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Add Gaussian noise of standard deviation 3..25 gray levels, independent per pixel and channel."""
    deviation = float(rng.uniform(3, 25))
    noisy = image + deviation * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), {"deviation": deviation}


def blur(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Blur by a Gaussian of standard deviation 0.7..3 pixels."""
    sigma = float(rng.uniform(0.7, 3.0))
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), {"sigma": sigma}


def median(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Take the median over 3×3 or 5×5 pixels, each channel for itself."""
    side = int(rng.choice([3, 5]))
    return cv2.medianBlur(image, side), {"side": side}


def sharpen(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Sharpen by unsharp masking: v + a·(v − blurred v), a in 0.5..2, Gaussian of deviation 0.7..2 pixels."""
    amount, sigma = rng.uniform(0.5, 2.0), rng.uniform(0.7, 2.0)
    blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return cv2.addWeighted(image, 1 + amount, blurred, -amount, 0), {"amount": float(amount), "sigma": float(sigma)}


def denoise(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Filter bilaterally over 5×5 pixels: standard deviations 10..50 gray levels and 1..3 pixels."""
    levels, pixels = float(rng.uniform(10, 50)), float(rng.uniform(1, 3))
    return cv2.bilateralFilter(image, 5, levels, pixels), {"levels": levels, "pixels": pixels}


def resample(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Shrink by a factor 0.4..0.9 and enlarge back, each with a linear, cubic or Lanczos kernel."""
    H, W, _ = image.shape
    factor = float(rng.uniform(0.4, 0.9))
    down, up = rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4], 2).tolist()
    small = cv2.resize(image, (max(1, round(W * factor)), max(1, round(H * factor))), interpolation=down)
    return cv2.resize(small, (W, H), interpolation=up), {"factor": factor, "down": down, "up": up}


def gamma(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Change gray levels to (v/255)^γ with γ in 0.6..0.85 or 1.2..1.7: the rounding leaves gaps in the histogram."""
    exponent = float(rng.uniform(0.6, 0.85) if rng.random() < 0.5 else rng.uniform(1.2, 1.7))
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return table[image], {"gamma": exponent}


def tone(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Scale saturation by 0.5..1.5 and contrast by 0.75..1.3 about middle gray; shift brightness by −25..25."""
    saturation, contrast, brightness = rng.uniform([0.5, 0.75, -25], [1.5, 1.3, 25]).tolist()
    # Luma stays: colors move to or from the gray of their pixel, which is one matrix; contrast is another factor.
    colors = contrast * (saturation * np.eye(3) + (1 - saturation) * LUMA)
    shift = np.full((3, 1), brightness + 128 * (1 - contrast))
    changed = cv2.transform(image, np.hstack([colors, shift]).astype(np.float32))
    return changed, {"saturation": saturation, "contrast": contrast, "brightness": brightness}


def remosaic(image: np.ndarray, rng: np.random.Generator) -> Perturbed:
    """Sample through one of the four Bayer patterns and demosaic again, bilinearly or edge-aware."""
    phase_y, phase_x = rng.integers(0, 2, 2).tolist()
    bayer = image[..., 1].copy()
    bayer[phase_y::2, phase_x::2] = image[phase_y::2, phase_x::2, 0]
    bayer[1 - phase_y :: 2, 1 - phase_x :: 2] = image[1 - phase_y :: 2, 1 - phase_x :: 2, 2]
    # OpenCV names a pattern by the pixels (1,1) and (1,2): red at (0,0) is its "BayerBG".
    pattern = {(0, 0): "BG", (0, 1): "GB", (1, 0): "GR", (1, 1): "RG"}[phase_y, phase_x]
    edge_aware = bool(rng.random() < 0.5)
    code = getattr(cv2, f"COLOR_Bayer{pattern}2RGB" + ("_EA" if edge_aware else ""))
    # The pad keeps the Bayer phase (it is even) and gives the border pixels neighbors.
    out = cv2.demosaicing(cv2.copyMakeBorder(bayer, 4, 4, 4, 4, cv2.BORDER_REFLECT_101), code)
    return out[4:-4, 4:-4], {"phase_y": phase_y, "phase_x": phase_x, "edge_aware": edge_aware}
