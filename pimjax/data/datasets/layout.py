"""The files that a user placed: folders by their names, the images in them, and the mask of each."""

from pathlib import Path
from typing import NamedTuple

from pimjax.data import walk
from pimjax.data.datasets.report import FOLDERS, LITTER, NO_FOLDER, NO_MASK, NOT_IMAGES, UNREAD, Report

_HEADINGS = {walk.UNREAD: UNREAD, walk.NO_IMAGE: NOT_IMAGES, walk.LITTER: LITTER}


class Image(NamedTuple):
    """An image file and its name within the dataset."""

    id: str  # a POSIX path, the same whatever folder a mirror wraps around the dataset
    path: Path

    @property
    def stem(self) -> str:
        """The file's name up to its last dot; "" for ".jpg", which pathlib takes for a stem."""
        return stem(self.path)


class Entry(NamedTuple):
    """An example to be prepared; no mask means authentic."""

    id: str
    image: Path
    mask: Path | None = None
    kind: str = ""  # of manipulation: "splicing", "copy_move", "removal", "inpainting"; "" where unknown


def stem(path: Path) -> str:
    """Return the name up to its last dot, which may be nothing; the whole name if it has no dot."""
    return path.name.rpartition(".")[0] if "." in path.name else path.name


def misplaced(what: str, instructions: str) -> FileNotFoundError:
    """Return the error for files that do not lie as instructed; the instructions are lines of their own below it."""
    error = FileNotFoundError(what)
    error.add_note(instructions)
    return error


class Placed:
    """A folder that should hold a dataset as it is distributed."""

    def __init__(self, root: Path, name: str, instructions: str, report: Report):
        self.root = root
        self.name = name  # of the dataset
        self.instructions = instructions
        self.report = report

    def wrong(self, lacking: str) -> FileNotFoundError:
        """Return the error for a folder that lacks something the dataset needs."""
        what = f"not {self.name} as it is distributed: {lacking}. Give the folder in which the files lie so:"
        return misplaced(f"{self.root}: {what}", self.instructions)

    def look(self, *names: str) -> Path | None:
        """Return the first of the folders that exists, or None, which is reported."""
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        self.report.note(NO_FOLDER, " or ".join(names))
        return None

    def need(self, *names: str) -> Path:
        """Return the first of the folders that exists.

        Raises:
            FileNotFoundError: there is none of them; says what was looked for and how to place the files.
        """
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        raise self.wrong(f"there is no folder {' or '.join(names)} in it")

    def images(self, folder: Path, prefix: str, deep: bool = True, hidden: bool = False) -> list[Image]:
        """Return the images in a folder, by path; what is passed over is reported.

        Args:
            folder: where they are.
            prefix: what stands for `folder` in their ids; "" for nothing.
            deep: whether folders below it count too.
            hidden: whether names that start with a dot count.
        """

        def named(path: Path) -> str:
            return "/".join(filter(None, (prefix, path.relative_to(folder).as_posix())))

        found = walk.walk(folder, deep=deep, hidden=hidden)
        for path, why in sorted(found.passed_over.items()):
            heading = _HEADINGS.get(why)
            self.report.note(heading or FOLDERS, named(path) if heading else f"{named(path)}: {why}")
        return [Image(named(path), path) for path in found.files]

    def authentic(self, folder: Path | None, prefix: str) -> list[Entry]:
        """Return the entries of all images in a folder, as authentic ones; none if there is no folder."""
        return [Entry(*image) for image in self.images(folder, prefix)] if folder else []

    def forged(self, image: Image, mask: Path | None, kind: str = "") -> list[Entry]:
        """Return the entry of a manipulated image; none, which is reported, if it has no mask."""
        if mask is None:
            self.report.note(NO_MASK, image.id)
            return []
        return [Entry(*image, mask, kind)]


def masks_by_stem(folder: Path, hidden: bool = False) -> dict[str, Path]:
    """Return the image files directly in a folder, by their stems; of two with one stem, a PNG."""
    paths = walk.walk(folder, deep=False, hidden=hidden).files
    return {stem(path): path for path in sorted(paths, key=lambda path: path.suffix.lower() == ".png")}


def subfolders(folder: Path) -> list[Path]:
    """Return the folders directly in a folder, by name, without those of systems and programs."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not walk.is_litter(path.name))
