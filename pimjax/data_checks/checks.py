"""From facts to a verdict: what forbids training or scoring, what deserves a look, and a summary."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pimjax.data.images import decode_image, decode_mask
from pimjax.data.sources import Source, align_mask
from pimjax.data_checks.facts import Facts, near_duplicates, read_all_facts
from pimjax.data_checks.mask_alignment import edge_ranks, outline, outline_alignment
from pimjax.terminal import say

MOSTLY = 0.5  # share of gray above which a picture is no mask
POOR_ALIGNMENT = 1.13  # below which a tenth of right masks lies, and most wrong ones


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of trouble and the examples that have it."""

    kind: str
    what: str  # in words, with what to do
    examples: tuple[str, ...]  # ids, the worst first
    fatal: bool = False  # whether training must not start


def check_facts(facts: Sequence[Facts], max_unreadable: float) -> list[Finding]:
    """Return findings within one source; a share of up to `max_unreadable` unusable examples is no reason to stop."""
    masked = [fact for fact in facts if fact.marked is not None]
    broken = [fact for fact in facts if fact.error]
    marked = [fact.marked for fact in masked if fact.marked]
    inverted = len(marked) >= 8 and statistics.median(marked) > 0.5  # of fewer, nothing can be said of the dataset
    most = sorted((fact for fact in masked if _marked(fact) > 0.5), key=_marked, reverse=True)
    too_many = len(broken) > max_unreadable * len(facts) or len(broken) == len(facts)
    what = "the mask marks more than half of the image"
    what += "; so do most: invert this dataset's masks (white = manipulated)" if inverted else "; it may be inverted"
    findings = [
        Finding("unusable", "cannot be used; training skips them", tuple(fact.error for fact in broken), too_many),
        Finding("inverted", what, tuple(f"{fact.id}: {fact.marked:.0%}" for fact in most), inverted),
        Finding("empty", "has a mask that marks nothing; it counts as authentic", _ids(masked, lambda f: not f.marked)),
        Finding(
            "gray",
            "more than 5 % of the mask is gray; is it a mask, saved losslessly?",
            _gray(masked),
            sum(fact.gray > MOSTLY for fact in masked) > max_unreadable * len(masked),
        ),
        Finding("lossy", "the mask is a JPEG: compression blurs its edges", _ids(masked, _is_lossy)),
        Finding("scaled", "the mask has another size and is scaled, nearest neighbor", _ids(masked, _is_scaled)),
        Finding("range", "uses a small part of its 16 bits, and is nearly black", _noted(facts)),
        Finding("orientation", "EXIF says rotated; image and mask are used as stored", _ids(facts, _is_rotated)),
        Finding("duplicates", "the same picture twice, or two forgeries of it", _duplicates(facts)),
    ]
    return [finding for finding in findings if finding.examples]


def _marked(fact: Facts) -> float:
    return fact.marked or 0.0


def _ids(facts: Sequence[Facts], condition: Callable[[Facts], Any]) -> tuple[str, ...]:
    return tuple(fact.id for fact in facts if condition(fact))


def _noted(facts: Sequence[Facts]) -> tuple[str, ...]:
    return tuple(f"{fact.id}: {note}" for fact in facts for note in fact.notes)


def _is_scaled(fact: Facts) -> bool:
    return fact.mask_size is not None


def _is_lossy(fact: Facts) -> bool:
    return fact.mask_format == "JPEG"


def _is_rotated(fact: Facts) -> bool:
    return fact.orientation != 1


def _gray(facts: Sequence[Facts]) -> tuple[str, ...]:
    gray = sorted((fact for fact in facts if fact.gray > 0.05), key=lambda fact: -fact.gray)
    return tuple(f"{fact.id}: {fact.gray:.0%}" for fact in gray)


def _duplicates(facts: Sequence[Facts]) -> tuple[str, ...]:
    # A forgery resembles its original; that is no trouble. Two of a kind are.
    found = []
    for manipulated in (False, True):
        some = [fact for fact in facts if bool(fact.marked) == manipulated]
        prints = [fact.perceptual_hash for fact in some]
        found += [f"{some[i].id} = {some[j].id}" for i, j in near_duplicates(prints, prints) if i < j]
    return tuple(found)


def check_overlap(facts: Sequence[Facts], others: Sequence[Facts]) -> list[Finding]:
    """Return pictures that are in two sources: what a model was trained on must not measure it."""
    pairs = near_duplicates([fact.perceptual_hash for fact in facts], [fact.perceptual_hash for fact in others])
    examples = tuple(f"{facts[i].id} = {others[j].id}" for i, j in pairs)
    what = "in both sources; do not train on one and score on the other"
    return [Finding("leak", what, examples, fatal=True)] if pairs else []


def check_alignment(source: Source, facts: Sequence[Facts], most: int = 60) -> list[Finding]:
    """Return masks whose outline follows nothing in their image, the worst first, and whose other image they fit
    better.

    Only the `most` worst are compared with each other's images.
    """
    alignments = [(fact.mask_alignment, fact) for fact in facts if fact.mask_alignment is not None]
    poor = sorted((pair for pair in alignments if pair[0] < POOR_ALIGNMENT), key=lambda pair: pair[0])[:most]
    maps = []
    for _, fact in poor:
        encoded = source.encoded(fact.index)
        image = decode_image(encoded.image, encoded.id)
        mask = align_mask(decode_mask(encoded.mask or b"", encoded.mask_id), image, encoded)
        maps.append((edge_ranks(image), outline(mask > 127)))
    swapped, alone = [], []
    for i, (alignment, fact) in enumerate(poor):
        fits = [
            -9.0 if i == j or maps[i][0].shape != ranks.shape else outline_alignment(ranks, maps[i][1]) or -9.0
            for j, (ranks, _) in enumerate(maps)
        ]
        best = max(range(len(fits)), key=fits.__getitem__)
        if fits[best] > max(2 * POOR_ALIGNMENT, alignment + POOR_ALIGNMENT):
            swapped.append(f"{fact.id}: its mask fits {poor[best][1].id}")
        else:
            alone.append(f"{fact.id}: {alignment:.1f}")
    findings = [
        Finding("swapped", "the mask fits another image of this source better than its own", tuple(swapped)),
        Finding("misfit", "the mask's outline follows no edges of the image; is it of another?", tuple(alone)),
    ]
    return [finding for finding in findings if finding.examples]


def require_sound(source: Source, max_unreadable: float, samples: int = 32) -> None:
    """Check some examples, spread over the source, before training; print what is odd.

    Raises:
        ValueError: what was found forbids training.
    """
    indices = np.unique(np.linspace(0, len(source) - 1, samples).astype(int)).tolist()
    # Of so few examples, a share above the limit must be told from bad luck.
    limit = max_unreadable + 3 * np.sqrt(max_unreadable * (1 - max_unreadable) / len(indices))
    for finding in check_facts(list(read_all_facts(source, indices)), limit):
        if finding.fatal:
            raise ValueError(
                f"{source.name}: {len(finding.examples)} of {len(indices)} examples looked at: {finding.what}; such as "
                f"{finding.examples[0]}. All of them: pimjax check-data"
            )
        share = f"{len(finding.examples)} of {len(indices)} looked at"
        say(f"{source.name}: {finding.what}: {finding.examples[0]}, {share}")


def summary(facts: Sequence[Facts]) -> dict[str, str]:
    """Return counts in words, for a table."""
    usable = [fact for fact in facts if not fact.error]
    marked = sorted(fact.marked for fact in usable if fact.marked)
    sizes = sorted((fact.width * fact.height, fact.width, fact.height) for fact in usable)
    rows = {
        "examples": f"{len(facts)}: {len(marked)} manipulated, {len(usable) - len(marked)} authentic, "
        f"{len(facts) - len(usable)} unusable"
    }
    if usable:
        (_, w, h), (_, W, H) = sizes[0], sizes[-1]
        rows["sizes"] = f"{w}×{h} … {W}×{H}, {len({size[1:] for size in sizes})} different"
        kinds = Counter(f"{fact.format} {fact.mode} {fact.bits}-bit" for fact in usable)
        rows["files"] = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    if marked:
        rows["marked share"] = (
            f"median {statistics.median(marked):.1%}, {marked[0]:.2%} … {marked[-1]:.0%}; "
            f"mean {statistics.mean(marked):.1%}"
        )
    return rows
