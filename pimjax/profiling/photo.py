"""Time one photo through a compared network, and its memory: python -m pimjax.profiling.photo NETWORK."""

import argparse
import time

import jax
import numpy as np

from pimjax.allocator import resident_peak
from pimjax.config.networks import COMPARED
from pimjax.inference.compared import ComparedLocalizer
from pimjax.models.preprocessing import preprocessing_of
from pimjax.models.trained import Trained
from pimjax.terminal import say
from pimjax.training.init_params import fresh_variables
from pimjax.weights.card import ModelCard

SIZES = ("1200x832", "2304x1728", "4000x3000")  # 1, 4 and 12 megapixels


def main() -> None:
    """Print a row for each size, the smallest first: seconds of one photo, and the process's peak memory so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=COMPARED)
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    arguments = parser.parse_args()
    config = COMPARED[arguments.network]()
    variables = fresh_variables(Trained(config), jax.random.key(0))
    localizer = ComparedLocalizer(variables, ModelCard(config, preprocessing_of(config).to_json()))
    say("| network | photo | megapixels | seconds, compilation included | peak memory of the process, MiB |")
    for text in arguments.size:
        width, height = map(int, text.split("x"))
        photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        began = time.perf_counter()
        localizer(photo)
        seconds = time.perf_counter() - began
        peak = resident_peak() or 0
        row = (arguments.network, text, f"{width * height / 1e6:.1f}", f"{seconds:.0f}", f"{peak / 2**20:,.0f}")
        say(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
