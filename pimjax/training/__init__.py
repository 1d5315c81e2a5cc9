"""Training: losses, optimiser, step, devices, checkpoints and the loop."""

from pimjax.training.loop import run as run
