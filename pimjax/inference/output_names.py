"""What may be written of a photo, by the names of the command line; in a file of its own, which needs no library."""

OUTPUTS = ("probability", "overlay", "mask", "npy", "boundary", "reconstruction")
