"""What is known of scored images and datasets, and the JSON that `pimjax evaluate` and `robustness` make of it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pimjax.files import Row
from pimjax.metrics.confusion import Confusion

SCHEMA = 2  # of the files; 1, which says nothing of it, is pimjax 0.1's, with other names (`pimjax.aliases.EVALUATION`)


class Interval(NamedTuple):
    """A value over images with its 95 % interval; NaN where nothing defines it."""

    value: float
    low: float
    high: float
    n: int  # images that it is of
    undefined: int = 0  # other images, for which it is not defined

    @property
    def known(self) -> bool:
        """Return whether there is a value."""
        return not math.isnan(self.value)

    def to_json(self) -> Row:
        """Return {"value", "low", "high", "images", "undefined"}, None for NaN."""
        value, low, high = (None if math.isnan(part) else part for part in self[:3])
        return {"value": value, "low": low, "high": high, "images": self.n, "undefined": self.undefined}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Interval":
        """Return what `to_json` was given."""
        value, low, high = (math.nan if content[key] is None else content[key] for key in ("value", "low", "high"))
        return cls(value, low, high, content["images"], content.get("undefined", 0))


class ImageRow(NamedTuple):
    """One scored image of a dataset."""

    number: int  # in the dataset
    id: str
    input: str  # what tells whether image, mask and label are still the same
    version: str  # of what the map comes from
    orientation: int  # EXIF, of the photo
    mask_format: str  # "" of an authentic image
    mask_gray: float  # share of the mask's values that are neither near black nor near white
    mask_scaled: bool
    manipulated: bool
    height: int  # pixels, of the image
    width: int
    map_height: int
    map_width: int
    map_values: int  # how many different ones the map has, 3 for all that is more
    scores: dict[str, float | None]  # "CONVENTION.METRIC", None where undefined, and "image.REDUCTION"
    confusion: Confusion  # pixels at the image's size
    histogram: list[list[int]]  # [2, 256], of `pimjax.metrics.pooled.Pooled`
    seconds: float
    picture: str | None = None  # relative to the folder

    @property
    def marked(self) -> float:
        """Return the share of the image's pixels above the threshold."""
        return float(self.confusion.tp + self.confusion.fp) / (self.height * self.width)

    @property
    def truly_marked(self) -> float:
        """Return the share of the image's pixels that the mask marks."""
        return float(self.confusion.tp + self.confusion.fn) / (self.height * self.width)

    def to_json(self) -> Row:
        """Return one object without others in it, but for the histogram."""
        fields = self._asdict()
        scores, confusion, histogram = (fields.pop(name) for name in ("scores", "confusion", "histogram"))
        row = fields | scores | {name: int(count) for name, count in confusion._asdict().items()}
        if self.picture is None:
            del row["picture"]
        return row | {"histogram": histogram}

    @classmethod
    def from_json(cls, row: Row) -> "ImageRow":
        """Return what `to_json` was given; `pimjax.evaluation.schema.row_fault` says before whether it can be read."""
        scores = {name: value for name, value in row.items() if "." in name}
        confusion = Confusion(*(np.int64(row[name]) for name in Confusion._fields))
        fields = {name: row[name] for name in cls._fields if name in row}
        return cls(**fields | {"scores": scores, "confusion": confusion})


class DatasetSummary(NamedTuple):
    """What the rows of a dataset say together."""

    scored: int  # images
    of: int
    manipulated: int
    authentic: int
    threshold: float
    errors: list[str]  # one for each image that was not scored
    warnings: list[str]
    scores: dict[str, dict[str, Interval]] = {}  # by convention and metric: means over images  # noqa: RUF012
    pooled: dict[str, Interval] = {}  # of all pixels together  # noqa: RUF012
    pixel_fpr_authentic: Interval | None = None  # share of an authentic image's pixels above the threshold, mean
    image_level: dict[str, dict[str, Interval]] = {}  # by reduction  # noqa: RUF012
    thresholded: bool = False  # all maps have two values, which leaves scores over all thresholds undefined

    def find(self, path: tuple[str, ...]) -> Interval | None:
        """Return the value at a path such as ("scores", "pim", "f1"); None where it is absent or undefined."""
        found: Any = getattr(self, path[0])
        for key in path[1:]:
            found = found.get(key, {})
        return found if isinstance(found, Interval) and found.known else None

    def to_json(self) -> Row:
        """Return what scores.json holds."""
        return {"schema": SCHEMA} | {name: _plain(value) for name, value in self._asdict().items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DatasetSummary":
        """Return what `to_json` was given."""
        fields = {name: content[name] for name in cls._fields if content.get(name) is not None}
        for name in ("scores", "image_level"):
            fields[name] = {key: _intervals(part) for key, part in (fields.get(name) or {}).items()}
        fields["pooled"] = _intervals(fields.get("pooled") or {})
        if "pixel_fpr_authentic" in fields:
            fields["pixel_fpr_authentic"] = Interval.from_json(fields["pixel_fpr_authentic"])
        return cls(**fields)


class DatasetResult(NamedTuple):
    """One predictor on one dataset."""

    model: str
    dataset: str
    summary: DatasetSummary
    rows: list[ImageRow]


def _intervals(content: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: Interval.from_json(value) for name, value in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value.to_json()
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else value
