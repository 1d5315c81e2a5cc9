"""The PIM network in Flax Linen."""
