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

from pimjax.config import Config, DataConfig, ModelConfig, from_dict
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD

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
    """The inverse of `ModelCard.to_json`; `where` names the file in the ValueError for anything else."""
    try:
        values = json.loads(text)
        number = values.pop("pimjax_format")
        values["model"] = from_dict(ModelConfig, values["model"])
        values["classes"] = tuple(values["classes"])
        card = ModelCard(**values)
        DataConfig(image_size=card.preprocessing["image_size"], fit=card.preprocessing["fit"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its model card cannot be read ({error}); convert the model anew") from None
    if number != FORMAT:
        raise ValueError(f"{where}: its model card is of format {number}, this pimjax reads {FORMAT}; update pimjax")
    return card


def provenance(source: str | os.PathLike) -> dict[str, Any]:
    """Where weights come from: the file's name and SHA-256 (of a directory: its card's), command, versions, time."""
    path = Path(source)
    hashed = path / "model.json" if path.is_dir() else path
    with hashed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    packages = ("pimjax", "jax", "flax", "numpy")
    return {
        "source": path.name,
        "sha256": digest,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {name: importlib.metadata.version(name) for name in packages} | {"python": sys.version.split()[0]},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
