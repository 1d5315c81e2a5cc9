"""A small set of images on disk."""

from pimjax.data.images import write_png


def write_set(folder, examples, broken):
    """PNGs of (image, mask) pairs, a file called `broken` that is no image, and a manifest of all; returns its path."""
    lines = []
    for number, (image, mask) in enumerate(examples):
        write_png(folder / f"images/{number}.png", image)
        write_png(folder / f"masks/{number}.png", mask)
        lines.append(f"images/{number}.png,{f'masks/{number}.png' if mask.any() else ''}")
    (folder / "images" / broken).write_bytes(b"no image")
    (folder / "set.csv").write_text("\n".join(["image,mask", *lines, f"images/{broken},"]))
    return folder / "set.csv"
