"""Two contradictions between a picture's JPEG blocks, from the histograms of its cosine transform.

- Double compression (Lin et al., Pattern Recognition 2009; the model of the histograms as in Bianchi, De Rosa and Piva,
  ICASSP 2011). A picture compressed before the forgery has periodic histograms of quantized coefficients. What was put
  in has not: it was not compressed before, or on another grid.
- Coefficients that are no multiples of the step (Ye, Sun and Chang, ICME 2007). After the forgery nothing, or little,
  was compressed: the step is the first compression's, and what was put in does not keep to it.

The primary compression is found for all frequencies together, as most programs scale one table by one quality, and
coefficients quantized to zero do not count: most are zero because the block is smooth, whatever became of it. Both are
pimjax's own, as is the use inside a network, which sees blocks, or windows of them, but not a picture's histograms.
The constants were chosen on CASIA 1, forged and authentic, and IMD2020.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pimjax.jpeg.tables import LUMA_TABLE, scaled

# Of luma's cosine transform, (row, column) with row + column of 1..7, low ones first: higher ones are mostly zero.
FREQUENCIES = sorted([(u, v) for u in range(8) for v in range(8) if 0 < u + v < 8], key=sum)
NUM_FEATURES = 7  # what `double_compression` gives of each block
NUM_LOW_FREQUENCIES = 20  # of these (row + column of 1..5) are asked for multiples of their step: more added nothing
STEPS = np.arange(1, 61)  # steps of quantization that are looked for, of the last compression and of a primary one
QUALITIES = range(30, 100)  # of the standard table, that are looked for in a primary compression
MAX_LEVEL = 20  # quantized coefficients up to ±20 are modeled
MIN_COUNT = 100  # non-zero coefficients that show a step
FORGED_PRIOR = 0.15  # share of blocks that are taken to lack the primary compression
MIN_RATIO = 0.05  # a coefficient is at most so much less likely after two compressions: it may be wrong
TABLE_CHOICE_COST = 15  # log-likelihood that the best of all primary compressions explains by chance; seldom more
STEP_CHOICE_COST = float(np.log(len(STEPS)))  # what a frequency's own step must explain besides
MIN_GAIN = 0.01  # log-likelihood per block, beyond that, that shows a primary compression
FINE_BINS = 4096  # quarters of a gray level, up to which coefficients are counted to find their step

Array = jax.Array | np.ndarray


class DoubleCompression(NamedTuple):
    """Hold what one picture's histograms tell of its blocks, float32; logarithms to base e."""

    single_llr: Array  # [N]: log-likelihood ratio of a block without the primary compression; 0 where none shows
    off_grid_llr: Array  # [N]: log-likelihood ratio of coefficients off the multiples of the others' step, at least −4
    counted: Array  # [N]: coefficients that tell anything of the primary compression
    primary_gain: Array  # []: log-likelihood per block that it explains, less that of chance
    off_grid_gain: Array  # []: log-likelihood per block that is explained if some keep to no step


def double_compression(coefficients: jax.Array, shifted: jax.Array, clipped: jax.Array) -> jax.Array:
    """Return the evidence that a block misses the compression of the others: float32 [B, h, w, 7], about −3..3.

    It passes no gradient. In order: the block's evidence for a primary compression that it did not go through, and for
    coefficients that are no multiples of the others' step; both smoothed by a Gaussian of two blocks; how many
    coefficients tell anything, in logarithms; last, how plainly the whole picture shows each contradiction, likewise.
    See `estimate_double_compression`.

    Args:
        coefficients: luma's cosine transform at `FREQUENCIES`, gray levels [B, h, w, 35].
        shifted: that on a grid that no compression used, four pixels further [B, h', w', 35].
        clipped: whether a block has pixels of 0 or 255, bool [B, h, w].
    """
    B, h, w, n = coefficients.shape
    columns = [jnp.moveaxis(jax.lax.stop_gradient(c).reshape(B, -1, n), 1, 2) for c in (coefficients, shifted)]
    found = jax.vmap(estimate_double_compression)(columns[0], columns[1], clipped.reshape(B, -1))
    blocks = jnp.stack([found.single_llr, found.off_grid_llr], axis=-1).reshape(B, h, w, 2)
    # A block of much detail would drown the others; what few of them tell is small.
    single, pooled = 3 * jnp.tanh(blocks / 12), 3 * jnp.tanh(_smooth(blocks) / np.array([1, 4], np.float32))
    counted = jnp.log1p(found.counted).reshape(B, h, w, 1)
    plain = jnp.log1p(100 * jnp.maximum(jnp.stack([found.primary_gain, found.off_grid_gain], axis=-1), 0)) / 2
    plain = jnp.broadcast_to(plain[:, None, None], (B, h, w, 2))
    return jnp.concatenate([single, pooled, counted, plain], axis=-1)


def _smooth(maps: jax.Array) -> jax.Array:
    """Smooth [B, h, w, C] by a Gaussian of deviation 2, repeating the edges."""
    down, across = (_gaussian(n) for n in maps.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", down, maps, across, precision="highest")


def _gaussian(n: int) -> np.ndarray:
    """Return the matrix [n, n] that smooths a row of n."""
    weights = np.exp(-(np.arange(-6, 7) ** 2) / 8)
    matrix = np.zeros((n, n), np.float32)
    for offset, weight in zip(range(-6, 7), weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(n), np.clip(np.arange(n) + offset, 0, n - 1)), weight)
    return matrix


def estimate_double_compression(coefficients: Array, shifted: Array, clipped: Array) -> DoubleCompression:
    """Estimate both contradictions of one picture from its coefficients.

    They are [35, N] of its blocks, and `shifted` [35, M] of those on a grid four pixels further. Blocks with `clipped`
    pixels, bool [N], are left out of `off_grid_llr`: they keep to no step, forged or not. NumPy arrays give NumPy
    arrays; JAX's may be traced.
    """
    xp = coefficients.__array_namespace__()
    step = steps(coefficients)
    single_llr, counted, primary_gain = _once_compressed(coefficients, shifted, step)
    off_grid_llr = _random_llr(
        coefficients[:NUM_LOW_FREQUENCIES],
        xp.maximum(step[:NUM_LOW_FREQUENCIES], 1)[:, None],
        deviation=0.6,
        share=0.05,
    )
    shows = step[:NUM_LOW_FREQUENCIES, None] > 2  # below, rounded pixels leave nothing of it
    off_grid_llr = xp.where(shows, off_grid_llr, 0).sum(0)
    off_grid_llr = xp.where(clipped, 0, xp.maximum(off_grid_llr, -4))
    # Bounded: one block of much detail would explain more than many.
    explained = xp.log(1 - FORGED_PRIOR + FORGED_PRIOR * xp.exp(xp.minimum(off_grid_llr, 3))).sum()
    off_grid_gain = explained / max(1, len(off_grid_llr))
    return DoubleCompression(single_llr, off_grid_llr, counted, primary_gain, off_grid_gain)


def steps(coefficients: Array) -> Any:
    """Return each frequency's step: of [F, N] the [F] whose multiples explain it best, but for rounding; 0 if none."""
    xp = coefficients.__array_namespace__()
    sizes = xp.minimum(xp.rint(4 * xp.abs(coefficients)), FINE_BINS - 1).astype(int)
    score, counted = (_matmul(_histograms(sizes, FINE_BINS), table) for table in _combs())
    rows, best = np.arange(len(coefficients)), score.argmax(-1)
    # Asked of the best only: its divisors, which count more coefficients, must not take its place.
    shows = (counted[rows, best] >= MIN_COUNT) & (score[rows, best] >= 0.1 * counted[rows, best])
    return xp.where(shows, xp.asarray(STEPS)[best], 0)


def _once_compressed(coefficients: Array, shifted: Array, step: Array) -> tuple[Array, Array, Array]:
    """Compare one compression with two by the coefficients that are not zero: single_llr, counted and primary_gain.

    `shifted` tells what one compression alone makes of the histograms.
    """
    xp = coefficients.__array_namespace__()
    places, once = (_places(xp.rint(c / xp.maximum(step, 1)[:, None]).astype(int)) for c in (coefficients, shifted))
    nonzero = np.arange(-MAX_LEVEL, MAX_LEVEL + 1) != 0
    model = (_histograms(once, len(nonzero)) + 0.5) * nonzero
    model = model + model[:, ::-1]  # real histograms are even, but for chance
    model = (model / model.sum(-1, keepdims=True))[:, None]
    periodic = xp.asarray(_periodic())[xp.maximum(step, 1) - 1]
    twice = periodic * model
    twice = twice / xp.maximum(twice.sum(-1, keepdims=True), 1e-9)
    ratio = xp.where(nonzero, twice / xp.where(nonzero, model, 1), 1)
    explained = xp.log((1 - FORGED_PRIOR) * ratio + FORGED_PRIOR)
    gain = _matmul(explained, _histograms(places, len(nonzero))[..., None])[..., 0]
    first, total = _primary(gain)
    primary_gain = xp.maximum(total - TABLE_CHOICE_COST, 0) / max(1, coefficients.shape[1])
    rows = np.arange(len(FREQUENCIES))
    likelihood = -xp.log(xp.maximum(ratio[rows, first], MIN_RATIO))
    counted = (places != MAX_LEVEL) & (periodic[rows, first] != 1).any(-1, keepdims=True)
    single_llr = xp.take_along_axis(likelihood, places, axis=-1).sum(0)
    shows = primary_gain > MIN_GAIN
    return (
        xp.where(shows, single_llr, 0),
        xp.where(shows, counted.sum(0), 0).astype(np.float32),
        primary_gain.astype(np.float32),
    )


def _primary(gain: Array) -> tuple[Array, Array]:
    """Return the primary compression's steps, columns of `gain` [F, 61], and the log-likelihood that they explain.

    Either a quality of the standard table, or a step for each frequency that explains more than its choice costs.
    """
    xp = gain.__array_namespace__()
    rows, tables = np.arange(len(FREQUENCIES)), _tables()
    by_table = gain[rows, tables].sum(-1)
    free = xp.maximum(gain.max(-1) - STEP_CHOICE_COST, 0)
    first = xp.where(free > 0, gain.argmax(-1), len(STEPS))
    first = xp.where(free.sum() > by_table.max(), first, xp.asarray(tables)[by_table.argmax()])
    return first, xp.maximum(free.sum(), by_table.max())


def _places(quantized: Array) -> Array:
    """Return the histograms' columns, 0..2·MAX_LEVEL, of quantized coefficients; those beyond join the zeros."""
    xp = quantized.__array_namespace__()
    return xp.where(xp.abs(quantized) <= MAX_LEVEL, quantized, 0) + MAX_LEVEL


def _histograms(places: Array, size: int) -> Array:
    """Return how often each of 0..size − 1 is in the rows of whole numbers [F, N]: float32 [F, size]."""
    rows, places = len(places), (places + size * np.arange(len(places))[:, None]).ravel()
    if isinstance(places, jax.Array):
        return jnp.zeros(rows * size).at[places].add(1.0).reshape(rows, size)
    return np.bincount(places, minlength=rows * size).astype(np.float32).reshape(rows, size)


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest") if isinstance(a, jax.Array) else a @ b


def _random_llr(coefficients: Array, step: Array, deviation: float, share: float) -> Any:
    """Return the log-likelihood ratio that a coefficient lies between the multiples at random; 0 for zeros.

    Rounding to pixels moves coefficients off the multiples by `deviation`; a `share` of them is random anyway.
    NumPy arrays give a NumPy array.
    """
    xp = coefficients.__array_namespace__()
    nearest = xp.rint(coefficients / step)
    distance = (coefficients - nearest * step) / deviation
    normal = step / (np.sqrt(2 * np.pi) * deviation) * xp.exp(-0.5 * distance**2)
    return xp.where(nearest != 0, -xp.log((1 - share) * normal + share), 0).astype(xp.float32)


@functools.cache
def _combs() -> tuple[np.ndarray, np.ndarray]:
    """Return how well each size of coefficient (quarters) fits each step [4096, 60], 0 below half a step; and 1, 0."""
    size = np.arange(FINE_BINS)[:, None] / 4
    score = -_random_llr(size, STEPS, deviation=0.35, share=0.15)
    return score, (size >= STEPS / 2).astype(np.float32)


@functools.cache
def _tables() -> np.ndarray:
    """Return the steps' columns, 60 for those beyond, of the standard luma table at every quality [70, 35]."""
    places = [8 * u + v for u, v in FREQUENCIES]
    return np.stack([np.minimum(scaled(LUMA_TABLE, q)[places] - 1, len(STEPS)) for q in QUALITIES])


@functools.cache
def _periodic() -> np.ndarray:
    """Return how much more often a quantized value occurs after a first step: [steps, first steps and none,
    2·MAX_LEVEL + 1].

    It is the number of the first step's multiples that fall in the value's interval, times first step / step; the
    interval's ends are blurred by ±0.6, for the rounding to pixels in between. 1 where nothing is left of the first, or
    the step is 1.
    """
    step, first = STEPS[:, None, None], STEPS[None, :, None]
    ends = step * (np.arange(-MAX_LEVEL, MAX_LEVEL + 2) - 0.5) + 0.6
    below = ends // first  # multiples, the last of them in part
    ratio = np.diff(below + np.minimum((ends - below * first) / 1.2, 1)) * first / step
    ratio = np.where((step == 1) | (step % first == 0), 1, ratio)
    return np.pad(ratio, ((0, 0), (0, 1), (0, 0)), constant_values=1).astype(np.float32)
