"""What a photo's score means, from the scores that the model gave to photos whose truth is known."""

import bisect

from pimjax.weights.card import ModelCard


def meaning_of_score(score: float, card: ModelCard) -> str:
    """A sentence or two: how many authentic and how many manipulated photos of the measurement scored as high."""
    scores = card.provenance.get("scores")
    if scores is None:
        return "What this model's scores mean has not been measured."
    shares = {}
    for kind in ("authentic", "manipulated"):
        known = sorted(scores[kind])
        shares[kind] = (len(known) - bisect.bisect_left(known, score)) / len(known)
    return (
        f"{shares['authentic']:.0%} of {len(scores['authentic'])} authentic photos and {shares['manipulated']:.0%} of "
        f"{len(scores['manipulated'])} manipulated ones score as high or higher ({scores['sets']}). "
        "A high score is a reason to look, not a proof; a low one does not prove that a photo is authentic."
    )
