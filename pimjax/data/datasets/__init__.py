"""TFDS builders of the field's datasets, from files that users place; `catalogue` lists them. Needs no TensorFlow."""
