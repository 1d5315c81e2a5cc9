"""TFDS builders of the field's datasets, from files that users place; `catalog` lists them. Needs no TensorFlow."""
