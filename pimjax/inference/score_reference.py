"""What a photo's score means, from the scores that the model gave to photos whose truth is known."""

import bisect
import json
from pathlib import Path
from typing import Any

from pimjax.files import read_rows
from pimjax.weights.card import ModelCard


def reference_scores(folder: Path, sha256: str) -> dict[str, Any]:
    """Return scores out of what `pimjax evaluate` wrote of a model: {"authentic": […], "manipulated": […], "datasets":
    names}.

    Args:
        folder: of the model, in the command's output.
        sha256: the model's hash, as `Localizer.hash`.

    Raises:
        ValueError: the folder holds no scores, of another model, or none of authentic or of manipulated images.
    """
    scores: dict[str, Any] = {"authentic": [], "manipulated": []}
    datasets = sorted(path.parent for path in folder.glob("*/images.jsonl"))
    for path in datasets:
        if _hash(path / "about.json") != sha256:
            raise ValueError(f"{path}: not scores of this model; evaluate it anew")
        for number, row in read_rows(path / "images.jsonl")[0].items():
            manipulated, score = row.get("manipulated"), row.get("image.max")
            if not isinstance(manipulated, bool) or not isinstance(score, float | int) or not 0 <= score <= 1:
                raise ValueError(f"{path / 'images.jsonl'}: no score of image {number}; evaluate the model anew")
            scores["manipulated" if manipulated else "authentic"].append(round(score, 4))
    for kind, found in scores.items():
        if not found:
            raise ValueError(f"{folder}: no {kind} images were scored there; evaluate the model on some")
        found.sort()
    return scores | {"datasets": ", ".join(path.name for path in datasets)}


def _hash(about: Path) -> Any:
    try:
        return json.loads(about.read_text(encoding="utf-8")).get("sha256")
    except (OSError, ValueError, AttributeError, RecursionError):  # missing, damaged, or another's
        return None


def describe_score(score: float, card: ModelCard) -> str:
    """Return a sentence or two: how many authentic and how many manipulated photos of the measurement
    scored as high.
    """
    scores = card.provenance.get("scores")
    if scores is None:
        return "What this model's scores mean has not been measured."
    shares = {
        kind: 1 - bisect.bisect_left(scores[kind], score) / len(scores[kind]) for kind in ("authentic", "manipulated")
    }
    return (
        f"{shares['authentic']:.0%} of {len(scores['authentic'])} authentic photos and {shares['manipulated']:.0%} of "
        f"{len(scores['manipulated'])} manipulated ones score as high or higher ({scores['datasets']}). "
        "A high score is a reason to look, not a proof; a low one does not prove that a photo is authentic."
    )
