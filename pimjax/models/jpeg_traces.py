"""Two contradictions between JPEG blocks, from the picture's own histograms, inside a network.

The same as `pimjax.baselines.jpeg_grid`, which says whose ideas they are, in JAX and per frequency: a network sees
blocks, or windows of them, and would need a whole picture's histogram to find a former compression by itself.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

FREQUENCIES = 14  # of luma's cosine transform, row + column of 1..4: higher ones are mostly zero
STEPS = np.arange(1, 61)  # steps of quantisation that are looked for, grey levels
FIRST = np.arange(2, 41)  # steps of a former compression that are looked for
REACH = 20  # quantised coefficients up to ±20 are modelled
FEWEST = 100  # non-zero coefficients that show a step
GAIN = 0.003  # mean log-likelihood gained per coefficient that shows a former compression at one frequency
FORGED = 0.15  # share of blocks that are taken to lack the former compression
FINE = 4096  # quarters of a grey level, up to which coefficients are counted to find their step


def jpeg_traces(coefficients: jax.Array, shifted: jax.Array) -> jax.Array:
    """Log-likelihood ratios that a block lacks the compression of the others: float32 [B, h, w, 31], about −3..3.

    First `FREQUENCIES` for a former compression that it did not go through, then as many for coefficients that are no
    multiples of the others' step; 0 where a frequency shows neither. Then a quarter of both sums over the frequencies,
    smoothed by a Gaussian of two blocks; last, how plainly the picture was compressed before. Without gradient.

    Args:
        coefficients: the lowest frequencies of luma's cosine transform but the mean, grey levels [B, h, w, 14].
        shifted: those on a grid that no compression used, four pixels further [B, h', w', 14].
    """
    B, h, w, n = coefficients.shape
    columns = (jnp.moveaxis(jax.lax.stop_gradient(c).reshape(B, -1, n), 1, 2) for c in (coefficients, shifted))
    lacks, off, gain = jax.vmap(jax.vmap(_traces))(*columns)
    lacks, off = (jnp.moveaxis(c, 1, 2).reshape(B, h, w, n) for c in (lacks, off))
    sums = jnp.stack([lacks.sum(-1), jnp.maximum(off.sum(-1), -4)], axis=-1)
    total = jnp.broadcast_to(jnp.minimum(10 * gain.sum(-1), 3)[:, None, None, None], (B, h, w, 1))
    return jnp.concatenate([lacks, off, _smooth(sums) / 4, total], axis=-1)


def _smooth(maps: jax.Array) -> jax.Array:
    """Gaussian of deviation 2 over [B, h, w, C], repeating the edges."""
    down, across = (_gaussian(n) for n in maps.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", down, maps, across, precision="highest")


def _gaussian(n: int) -> np.ndarray:
    """Matrix [n, n] that smooths a row of n."""
    weights = np.exp(-(np.arange(-6, 7) ** 2) / 8)
    matrix = np.zeros((n, n), np.float32)
    for offset, weight in zip(range(-6, 7), weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(n), np.clip(np.arange(n) + offset, 0, n - 1)), weight)
    return matrix


def _traces(coefficients: jax.Array, shifted: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Both ratios [N] of one frequency's coefficients [N] and those on the other grid [M]; the former's mean gain."""
    step = _step(coefficients)
    safe = jnp.maximum(step, 1)
    lacks, gain = _once_compressed(coefficients, shifted, safe)
    off = misfit(coefficients, safe, deviation=0.6, share=0.05)
    return jnp.where(step > 1, lacks, 0), jnp.where(step > 2, off, 0), jnp.where(step > 1, gain, 0)


def _step(coefficients: jax.Array) -> jax.Array:
    """The step whose multiples explain the coefficients best, but for the pixels' rounding; 0 if none does."""
    sizes = jnp.minimum(jnp.rint(4 * jnp.abs(coefficients)), FINE - 1).astype(int)
    histogram = jnp.zeros(FINE).at[sizes].add(1.0)
    fit, counted = (jnp.asarray(table, jnp.float32) for table in combs())
    total, number = (jnp.matmul(histogram, table, precision="highest") for table in (fit, counted))
    total = jnp.where((number < FEWEST) | (total < 0.1 * number), 0, total)
    return jnp.where((total != 0).any(), jnp.asarray(STEPS)[total.argmax()], 0)


def _once_compressed(coefficients: jax.Array, shifted: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The blocks' log-likelihood ratio for one compression against two, and how much better two explain the picture.

    Both 0 where they explain no more than one. `shifted` tells what one compression alone makes of the histogram.
    """
    quantised, once = (jnp.rint(c / step).astype(int) for c in (coefficients, shifted))
    histogram, model = _count(quantised), _count(once) + 0.5
    model = model + model[::-1]  # real histograms are even, but for chance
    model /= model.sum()
    twice = jnp.asarray(_all_periodic(), jnp.float32)[step - 1] * model
    ratio = twice / twice.sum(-1, keepdims=True) / model
    gain = jnp.log((1 - FORGED) * ratio + FORGED) @ histogram / jnp.maximum(histogram.sum(), 1)
    gain = jnp.where(step % FIRST == 0, 0, gain)  # a multiple of the first step leaves no trace
    best = -jnp.log(jnp.maximum(ratio[gain.argmax()], 0.2))  # bounded: a single coefficient may be wrong
    evidence = jnp.where(jnp.abs(quantised) <= REACH, best[jnp.clip(quantised + REACH, 0, 2 * REACH)], 0)
    return jnp.where(gain.max() > GAIN, evidence, 0), jnp.where(gain.max() > GAIN, gain.max(), 0)


def _count(quantised: jax.Array) -> jax.Array:
    """Histogram [2·REACH + 1] of whole numbers [N]; those beyond the reach are left out."""
    inside = (jnp.abs(quantised) <= REACH).astype(jnp.float32)
    return jnp.zeros(2 * REACH + 1).at[jnp.clip(quantised + REACH, 0, 2 * REACH)].add(inside)


def misfit(coefficients: jax.Array, step: jax.Array | np.ndarray, deviation: float, share: float) -> jax.Array:
    """Log-likelihood ratio that a coefficient's place between the multiples is random; 0 for quantised zeros.

    Rounding to pixels moves coefficients off the multiples by `deviation`; a `share` of them is random anyway. NumPy
    arrays give a NumPy array.
    """
    xp = jnp if isinstance(coefficients, jax.Array) else np
    nearest = xp.rint(coefficients / step)
    distance = (coefficients - nearest * step) / deviation
    normal = step / (np.sqrt(2 * np.pi) * deviation) * xp.exp(-0.5 * distance**2)
    return xp.where(nearest != 0, -xp.log((1 - share) * normal + share), 0).astype(xp.float32)


@functools.cache
def combs() -> tuple[np.ndarray, np.ndarray]:
    """Per size of coefficient (quarters) and step [4096, 60]: how well it fits, 0 below half a step; and 1, 0."""
    size = np.arange(FINE)[:, None] / 4
    return -misfit(size, STEPS, deviation=0.35, share=0.15), (size >= STEPS / 2).astype(float)


@functools.cache
def periodic(step: int) -> np.ndarray:
    """How much more often a quantised value occurs after a first step: [first steps, 2·REACH + 1], mean about 1.

    It is the number of the first step's multiples that fall in the value's interval, times first step / step; the
    interval's ends are blurred by ±0.6, for the rounding to pixels in between.
    """
    values = np.arange(-REACH, REACH + 1)
    out = np.empty((len(FIRST), len(values)))
    for row, first in zip(out, FIRST, strict=True):
        multiples = first * np.arange(-(REACH + 1) * step // first - 1, (REACH + 1) * step // first + 2)
        below = np.clip((step * (values[:, None] - 0.5) - multiples + 0.6) / 1.2, 0, 1)
        beyond = np.clip((step * (values[:, None] + 0.5) - multiples + 0.6) / 1.2, 0, 1)
        row[:] = (beyond - below).sum(-1) * first / step
    return out


@functools.cache
def _all_periodic() -> np.ndarray:
    return np.stack([periodic(int(step)) for step in STEPS])
