"""Training: losses, optimiser, step, devices, checkpoints and the loop."""
