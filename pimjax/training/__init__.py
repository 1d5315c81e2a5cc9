"""Training: losses, optimizer, step, devices, checkpoints and the loop."""
