"""What a trained model must say of itself, so that nobody who loads it has to configure anything."""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

from pimjax.config import FITS, Config, ModelConfig
from pimjax.config_checks import check_model
from pimjax.config_files import from_dict
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD
from pimjax.weights.shipped import weights_path
from pimjax.weights.unpickle import WeightsFileError

FORMAT = 1


def _preprocessing(image_size: int = 512, fit: str = "resize") -> dict[str, Any]:
    return {
        "image_size": image_size,  # side of the square the photo is resized to; in training on crops, the crop's side
        "fit": fit,  # "resize", or "crop": native pixels
        "channels": "RGB in 0..1, minus mean, over std",
        "mean": [round(float(value), 6) for value in IMAGENET_MEAN],
        "std": [round(float(value), 6) for value in IMAGENET_STD],
    }


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """Travels with the weights in every format of pimjax.

    `preprocessing` is how a photo becomes the network's input; `classes` what the two mask logits mean; `provenance`
    where the weights come from: source file, its SHA-256, command, versions and time of the conversion.
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    preprocessing: dict[str, Any] = dataclasses.field(default_factory=_preprocessing)
    classes: tuple[str, str] = ("authentic", "manipulated")
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Indented JSON with the number of the format."""
        return json.dumps({"pimjax_format": FORMAT, **dataclasses.asdict(self)}, indent=1)


def card_of_run(config: Config) -> ModelCard:
    """The card of a model that pimjax trained under `config`."""
    return ModelCard(config.model, _preprocessing(config.data.image_size, config.data.fit))


def card_from_json(text: str, where: str) -> ModelCard:
    """The inverse of `ModelCard.to_json`; `where` names the file in the WeightsFileError for anything else."""
    try:
        values = json.loads(text)
        number = values.pop("pimjax_format")
        if number != FORMAT:
            raise ValueError(
                f"{where}: its model card is of format {number}, this pimjax reads {FORMAT}; update pimjax"
            )
        values["model"] = from_dict(ModelConfig, values["model"])
        values["classes"] = tuple(values["classes"])
        card = ModelCard(**values)
        _check(card)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, WeightsFileError):
            raise
        raise WeightsFileError(f"{where}: its model card cannot be used ({error}); convert the model anew") from None
    return card


def _check(card: ModelCard) -> None:
    """Raises ValueError for what this pimjax would not do as the card says."""
    check_model(card.model)
    size, fit = card.preprocessing["image_size"], card.preprocessing["fit"]
    if type(size) is not int or not 1 <= size <= 8192 or fit not in FITS:
        raise ValueError(f"preprocessing to {size!r} pixels by {fit!r}")
    expected = _preprocessing(size, fit)
    if card.preprocessing != expected or card.classes != ModelCard.classes:
        raise ValueError(f"preprocessing other than {expected}, or classes other than {ModelCard.classes}")
    if not isinstance(card.provenance, dict):
        raise ValueError("provenance that is no dictionary")


def provenance(source: str | os.PathLike) -> dict[str, Any]:
    """Where weights come from: the file's name and SHA-256, command, versions, time.

    Of a directory, the SHA-256 is that of the list of its files' names and digests; of a run's, of its checkpoints.
    """
    path = weights_path(source)
    packages = ("pimjax", "jax", "flax", "numpy")
    return {
        "source": path.name,
        "sha256": _sha256(path / "checkpoints" if (path / "checkpoints").is_dir() else path),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {name: importlib.metadata.version(name) for name in packages} | {"python": sys.version.split()[0]},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _sha256(path: Path) -> str:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{_sha256(file)}  {file.relative_to(path)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
