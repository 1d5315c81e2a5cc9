"""What a trained model must say of itself, so that nobody who loads it has to configure anything."""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pimjax
from pimjax.aliases import CONFIG, PREPROCESSING, REFERENCE, inverse, renamed
from pimjax.config.load import from_dict
from pimjax.config.schema import RESIZE_MODES, Config, ModelConfig, NetworkConfig
from pimjax.config.validate import check_model
from pimjax.models.preprocessing import PREPROCESSING as COMPARED
from pimjax.models.preprocessing import preprocessing_of
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD
from pimjax.weights.bundled import weights_path
from pimjax.weights.unpickle import WeightsFileError

FORMAT = 3  # 1: without checksums; 2: with the names of pimjax 0.1
_DEEPEST = 200  # levels; the card of a model that was converted n times has 2n and a few


def _preprocessing(image_size: int = 512, resize_mode: str = "resize") -> dict[str, Any]:
    return {
        "image_size": image_size,  # side of the square the photo is resized to; in training on crops, the crop's side
        "resize_mode": resize_mode,  # "resize", or "crop": native pixels
        "channels": "RGB in 0..1, minus mean, over std",
        "mean": [round(float(value), 6) for value in IMAGENET_MEAN],
        "std": [round(float(value), 6) for value in IMAGENET_STD],
    }


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """Travel with the weights in every format of pimjax: what they are a model of.

    `preprocessing` is how a photo becomes the network's input; `classes` what the two mask logits mean; `provenance`
    where the weights come from: source file, its SHA-256, command, versions and time of the conversion.
    """

    model: NetworkConfig = dataclasses.field(default_factory=ModelConfig)
    preprocessing: dict[str, Any] = dataclasses.field(default_factory=_preprocessing)
    classes: tuple[str, str] = ("authentic", "manipulated")
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self, checksums: Mapping[str, str] | None = None) -> str:
        """Return indented JSON with the format's number, the weights' `checksums`, and "card", the JSON's own."""
        values = {"pimjax_format": FORMAT, **dataclasses.asdict(self), "checksums": dict(checksums or {})}
        values["checksums"]["card"] = _checksum(values)
        return json.dumps(values, indent=1)

    def identity(self) -> str:
        """Return all that a model's numbers depend on besides its arrays, as pimjax 0.1 wrote it for its hash."""
        fields = renamed(vars(ModelConfig()) | vars(self.model), inverse(CONFIG["model"]))
        model = f"ModelConfig({', '.join(f'{name}={value!r}' for name, value in fields.items())})"
        return f"({model}, {sorted(renamed(self.preprocessing, inverse(PREPROCESSING)).items())!r})"


def card_of_run(config: Config) -> ModelCard:
    """Return the card of a model that pimjax trained under `config`."""
    if config.model.architecture in COMPARED:
        return ModelCard(config.model, preprocessing_of(config.model).to_json())
    return ModelCard(config.model, _preprocessing(config.data.image_size, config.data.resize_mode))


def card_from_json(text: str, where: str) -> tuple[ModelCard, dict[str, str]]:
    """Read what `ModelCard.to_json` gave: the card, and the weights' checksums (none in format 1).

    `where` names the file in the WeightsFileError for anything else, and for a card that was changed since.
    """
    try:
        values = json.loads(text)
        if _deeper(values, _DEEPEST):
            raise ValueError(f"nested over {_DEEPEST} levels deep")
        number = values["pimjax_format"]
        if type(number) is not int or not 1 <= number <= FORMAT:
            raise WeightsFileError(
                f"{where}: its model card is of format {str(number)[:20]}, this pimjax reads 1 to {FORMAT}; "
                "update pimjax"
            )
        fields = values | {}
        del fields["pimjax_format"]
        checksums = dict(fields.pop("checksums")) if number > 1 else {}
        fields["model"] = from_dict(NetworkConfig, fields["model"])
        fields["classes"] = tuple(fields["classes"])
        fields["preprocessing"] = renamed(fields["preprocessing"], PREPROCESSING)
        if isinstance(scores := fields["provenance"].get("scores"), dict):
            fields["provenance"] = fields["provenance"] | {"scores": renamed(scores, REFERENCE)}
        card = ModelCard(**fields)
        _check(card)
        if number > 1 and checksums.pop("card") != _checksum(values):
            raise ValueError("damaged, or changed since pimjax wrote it: it lacks its checksum")
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, WeightsFileError):
            raise
        reason = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
        raise WeightsFileError(f"{where}: its model card cannot be used ({reason}); convert the model anew") from None
    return card, checksums


def _checksum(values: dict[str, Any]) -> str:
    """Return the CRC-32 of a card's JSON without its own entry, whatever its layout."""
    others = {name: checksum for name, checksum in values["checksums"].items() if name != "card"}
    return f"{zlib.crc32(json.dumps(values | {'checksums': others}, sort_keys=True).encode()):08x}"


def _deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(each, levels - 1) for each in inner)


def _check(card: ModelCard) -> None:
    """Raise ValueError for what this pimjax would not do as the card says."""
    check_model(card.model)
    if card.model.architecture in COMPARED:
        if card.preprocessing != preprocessing_of(card.model).to_json() or card.classes != ModelCard.classes:
            raise ValueError(f"preprocessing other than {preprocessing_of(card.model).to_json()}, or other classes")
        return
    size, resize_mode = card.preprocessing["image_size"], card.preprocessing["resize_mode"]
    if type(size) is not int or not 1 <= size <= 8192 or resize_mode not in RESIZE_MODES:
        raise ValueError(f"preprocessing to {size!r} pixels by {resize_mode!r}")
    expected = _preprocessing(size, resize_mode)
    if card.preprocessing != expected or card.classes != ModelCard.classes:
        raise ValueError(f"preprocessing other than {expected}, or classes other than {ModelCard.classes}")
    if not isinstance(card.provenance, dict):
        raise ValueError("provenance that is no dictionary")
    _check_scores(card.provenance.get("scores"))


def _check_scores(scores: Any) -> None:
    if scores is None:
        return
    for kind in ("authentic", "manipulated"):
        numbers = scores[kind]
        if not numbers or any(type(score) not in (int, float) or not 0 <= score <= 1 for score in numbers):
            raise ValueError(f"scores of {kind} photos that are no numbers in 0 … 1")
        if numbers != sorted(numbers):
            raise ValueError(f"scores of {kind} photos that are not in order")
    if not isinstance(scores["datasets"], str):
        raise ValueError("scores without the names of their data sets")


def provenance(source: str | os.PathLike) -> dict[str, Any]:
    """Return where weights come from: the file's name and SHA-256, command, versions, time.

    Of a directory, the SHA-256 is that of the list of its files' names and digests; of a run's, of its checkpoints.
    """
    path = weights_path(source)
    versions = {name: importlib.metadata.version(name) for name in ("jax", "flax", "numpy")}
    return {
        "source": path.name,
        "sha256": _sha256(path / "checkpoints" if (path / "checkpoints").is_dir() else path),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {"pimjax": pimjax.__version__, **versions, "python": sys.version.split()[0]},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _sha256(path: Path) -> str:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{_sha256(file)}  {file.relative_to(path)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
