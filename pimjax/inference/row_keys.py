"""The keys of a row of predictions.jsonl, declared once: what each holds. `python -m pimjax.inference.row_keys`."""

from pimjax.terminal import say

SCHEMA = 2  # 1: until pimjax 0.2, without schema, sha256, bytes, format, versions, command and time
BEGIN, END = "<!-- keys: python -m pimjax.inference.row_keys -->", "<!-- end of keys -->"

KEYS = {
    "schema": "int: the version of these keys, 2; rows of pimjax 0.2 and before have none",
    "photo": "str: the photo as it was given or found",
    "path": "str: the same from anywhere; `-`: standard input",
    "name": "str: of its results, relative to the output folder, without suffix",
    "sha256": "str: of the file's bytes, hexadecimal",
    "bytes": "int: the file's size",
    "format": "str: JPEG, PNG, TIFF, BMP or WEBP",
    "width": "int: pixels, upright",
    "height": "int: pixels, upright",
    "score": "float, 0 … 1: as of the model; of PIM the map's largest value",
    "area": "float, 0 … 1: share of pixels above the threshold",
    "regions": "int: connected regions above the threshold",
    "boxes": "list of at most 100, the largest: x, y, width, height, pixels, score (the largest in it)",
    "notes": "list of str, where the file calls for some",
    "frame": "str: how maps and boxes lie, `upright`",
    "orientation": "int, 1 … 8: EXIF's, of the stored pixels",
    "model": "str: as it was named to the command",
    "model_sha256": "str: of the weights and their card",
    "mtime": "[bytes, nanoseconds]: size and time of the last change, by which a later run knows the file",
    "settings": "outputs, threshold, bits, precision",
    "files": "what was written, by kind, relative to the output folder",
    "versions": "of pimjax, jax, flax, numpy, opencv-python, python and the machine",
    "command": "str: the command line; empty from Python",
    "time": "str: when the row was written, UTC, ISO 8601",
}
ERROR_KEYS = ("schema", "photo", "path", "error", "versions", "command", "time")  # of a photo that cannot be used


def markdown() -> str:
    """Return the table of keys."""
    return "\n".join(["| key | what it holds |", "|---|---|", *(f"| `{key}` | {what} |" for key, what in KEYS.items())])


if __name__ == "__main__":
    say(*markdown().split("\n"))
