"""Lists of images and their masks: tables (CSV, with any usual separator) and JSON."""

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pimjax.data.labels import names_a_mask, read_label
from pimjax.data.sources import FileSource, Record
from pimjax.data.walk import is_picture
from pimjax.files import read_regular

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_HEADERLESS = {  # by number of columns
    1: ("image",),
    2: ("image", "mask"),
    3: ("image", "mask", "label"),
    4: ("image", "mask", "boundary", "label"),
}
_FILES = ("image", "mask", "segments")
_KNOWN = {  # our columns, and what else they are called; small letters, "_" between words
    "image": "images img imgs image_path img_path image_file image_name img_name image_filename filename file_name "
    "file filepath file_path path input photo",
    "mask": "masks mask_path mask_file mask_name mask_filename gt gts gt_path gt_file gt_mask mask_gt groundtruth "
    "ground_truth groundtruth_path ground_truth_path groundtruth_mask ground_truth_mask annotation",
    "segments": "",
    "label": "labels class gt_label image_label is_fake is_forged is_tampered is_manipulated fake forged tampered "
    "manipulated",
    "boundary": "edge edges edge_path boundary_path edge_mask",
}


def csv_source(manifest: str | os.PathLike) -> FileSource:
    """Return the images and masks of a table; paths are relative to its folder.

    Columns are separated by commas, semicolons, tabs or "|", whatever the first line suggests. With a header, the
    columns "image", "mask", "segments" (a label map) and "label" are read, those that are there, also by other usual
    names such as "filename" and "gt"; others are ignored. Without one, the first two columns are image and mask and the
    last of three or four the label: both `image,mask,label` and `image,mask,boundary,label` are read so. An empty mask
    or "None" marks an authentic image. Labels are 1 and 0, "True" and "False", "fake" and "real" and the like; they
    must agree with the masks, which is seen where those are decoded. Boundaries are derived from masks, not read. Lines
    that begin with "#", if they name no file, and empty ones are skipped.

    Raises:
        FileNotFoundError: no such manifest.
        OSError: it cannot be read, or is no regular file.
        ValueError: the manifest is empty, is not text, lacks columns, or has a row without an image, with an unknown
            label, or labeled manipulated without a mask; the message names the line.
    """
    manifest = Path(manifest)
    if not manifest.exists():
        raise FileNotFoundError(f"{manifest}: no such manifest; give a CSV file with the columns image,mask")
    lines = _lines(manifest)
    separator = _separator(lines)
    rows = _rows(manifest, lines, separator)
    if not rows:
        raise ValueError(f"{manifest}: lists no images; write one row image,mask per image")
    if any(map(is_picture, rows[0][1])) and not _is_header(rows[0][1]):
        width = min(len(rows[0][1]), 4)
        columns = dict(zip(_HEADERLESS[width], range(width), strict=True))
    else:
        columns, rows = _columns(manifest, rows, separator), rows[1:]
    if not rows:
        raise ValueError(f"{manifest}: lists no images below its header; write one row per image")
    records = []
    for line, row in rows:
        if columns.get("mask", 0) >= len(row):  # a line cut off is no statement that the image is authentic
            raise ValueError(
                f"{manifest}, line {line}: ends before its mask; complete the row (an empty mask: authentic)"
            )
        cells = {name: row[column] for name, column in columns.items() if column < len(row)}
        records.append(_record(manifest, f"line {line}", cells))
    return FileSource(records, str(manifest))


def _lines(manifest: Path) -> list[str]:
    """Return the lines, with their ends; comments, and what Excel writes of its separator, are blank.

    A header that is commented out, as NumPy writes it, is one: which column is the mask's must not be guessed.
    """
    try:
        text = read_regular(manifest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{manifest}: not a CSV file in UTF-8 ({error}); save it as one") from None
    lines = list(io.StringIO(text, newline=""))
    comments = {place for place, line in enumerate(lines) if _is_comment(line, manifest.parent)}
    first = next((place for place, line in enumerate(lines) if line.strip() and place not in comments), len(lines))
    if first < len(lines) and not _is_header(_split(lines[first])):
        headers = (place for place in range(first) if _is_header(_split(lines[place].lstrip("# \t"))))
        for place in list(headers)[:1]:
            comments.remove(place)
            lines[place] = lines[place].lstrip("# \t")
    return ["\n" if place in comments else line for place, line in enumerate(lines)]


def _is_comment(line: str, folder: Path) -> bool:
    if re.fullmatch(r"sep=.\s*", line):
        return True
    if not line.lstrip().startswith("#"):
        return False
    return not os.path.isfile(folder / _split(line)[0].strip())  # "#1.jpg" may be an image


def _split(line: str) -> list[str]:
    """Return the cells, whatever separates them; for a first look."""
    return re.split(f"[{''.join(_SEPARATORS)}]", line.strip())


def _separator(lines: Sequence[str]) -> str:
    """Return the separator that makes most columns of the first line, if it makes sense so."""
    first = next((line for line in lines if line.strip()), "")

    def likely(separator: str) -> tuple[bool, int]:
        try:
            row = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            row = []
        return bool(row) and (_is_header(row) or is_picture(row[0].strip())), len(row)

    return max(_SEPARATORS, key=likely)  # of equal ones the first, a comma


def _rows(manifest: Path, lines: Sequence[str], separator: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with the number of its line; cells without spaces around them."""
    # Not strict, a quote that is never closed would swallow all the lines behind it.
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    rows = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        begun = rows[-1][0] + 1 if rows else 1
        raise ValueError(f"{manifest}: not a CSV file from line {begun} on ({error}); correct its quotes") from None
    width = len(rows[0][1]) if rows else 0
    for line, cells in rows:
        if any(cells[width:]):
            raise ValueError(
                f"{manifest}, line {line}: {len(cells)} cells, but {width} in the first line; put names with a "
                f"{_SEPARATORS[separator]} in them into quotes"
            )
    return rows


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _is_header(row: Sequence[str]) -> bool:
    return not {_plain(cell) for cell in row}.isdisjoint({"image", *_KNOWN["image"].split()})


def _columns(manifest: Path, rows: Sequence[tuple[int, list[str]]], separator: str) -> dict[str, int]:
    """Return the places of our columns in a header, which is the first row."""
    line, header = rows[0]
    names = [_plain(cell) for cell in header]
    there = f"its columns, separated by {_SEPARATORS[separator]}: {', '.join(header)}"
    columns = {}
    for column, others in _KNOWN.items():
        same = {place for place, name in enumerate(names) if name == column}
        places = sorted(same or {place for place, name in enumerate(names) if name in others.split()})
        if len(places) > 1:
            several = " and ".join(header[place] for place in places)
            raise ValueError(f"{manifest}, line {line}: {several} may be the column {column}; call one {column!r}")
        if places:
            columns[column] = places[0]
    if "image" not in columns:
        raise ValueError(
            f'{manifest}, line {line}: no column "image", nor the name of an image file; {there}; name the columns '
            "image, mask, label, or leave the header out"
        )
    if "mask" not in columns and (unread := _unread_files(rows, columns)):
        raise ValueError(
            f'{manifest}, line {line}: no column "mask", but column {header[unread[0]]} names image files; {there}; '
            'if they are masks, call it "mask", else take it out'
        )
    return columns


def _unread_files(rows: Sequence[tuple[int, list[str]]], columns: Mapping[str, int]) -> list[int]:
    """Return the columns that are not read and name image files."""
    counts = Counter(place for _, row in rows[1:] for place, cell in enumerate(row) if is_picture(cell))
    return sorted(set(counts) - set(columns.values()))


def _record(manifest: Path, place: str, cells: Mapping[str, str]) -> Record:
    place = f"{manifest}, {place}"
    named = {key: cell for key in _FILES if names_a_mask(cell := cells.get(key, ""))}
    if "image" not in named:
        raise ValueError(f"{place}: no image; complete or delete the row")
    if broken := next((name for name in named.values() if "\0" in name), None):
        raise ValueError(f"{place}: {broken!r} has a NUL byte, which no file's name can have; correct it")
    word = cells.get("label", "")
    try:
        label = read_label(word)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if label and "mask" not in named:
        raise ValueError(f"{place}: label {word} (manipulated), yet no mask; complete or delete the row")
    files = {key: manifest.parent / file for key, file in named.items()}
    return Record(files["image"], files.get("mask"), files.get("segments"), label, place)


def json_source(manifest: str | os.PathLike) -> FileSource:
    """Return the pairs of a JSON list `[[image, mask], [image, "Negative"], …]`; paths are relative to its folder.

    "Negative" in any letters, "None", "" and null mark an authentic image.

    Raises:
        FileNotFoundError: no such file.
        OSError: it cannot be read, or is no regular file.
        ValueError: it is not such a list.
    """
    manifest = Path(manifest)
    if not manifest.exists():
        raise FileNotFoundError(f"{manifest}: no such file; give a JSON list of pairs [image, mask]")
    try:
        pairs = json.loads(read_regular(manifest).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of JSON and of Unicode
        raise ValueError(f"{manifest}: not JSON ({error})") from None
    if not pairs or not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise ValueError(f'{manifest}: write a list of pairs, [["a.jpg", "a.png"], ["b.jpg", "Negative"]]')
    records = [
        _record(manifest, f"pair {number}", {"image": image, "mask": mask or ""})
        for number, (image, mask) in enumerate(pairs, 1)
    ]
    return FileSource(records, str(manifest))


def _is_pair(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    image, mask = pair
    return isinstance(image, str) and image != "" and (mask is None or isinstance(mask, str))
