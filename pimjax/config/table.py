"""The keys of a configuration as Markdown, from their declarations: the tables of configs/README.md."""

import dataclasses

from pimjax.config.flags import comments, sections
from pimjax.config.networks import NETWORKS
from pimjax.config.schema import Config
from pimjax.terminal import say

BEGIN, END = "<!-- keys: python -m pimjax.config.table -->", "<!-- end of keys -->"


def markdown() -> str:
    """Return a table for each section: key, default, what it may be, meaning."""
    lines = []
    for section in sections(Config):
        meanings = comments(section)
        name = next((f", {name}" for name, network in NETWORKS.items() if network is section), "")
        fields = [field for field in dataclasses.fields(section) if not dataclasses.is_dataclass(field.type)]
        lines += ["", f"**{section.PATH.rstrip('.')}{name}**: {(section.__doc__ or '').splitlines()[0]}", ""]
        lines += ["| key | default | may be | meaning |", "|---|---|---|---|"]
        for field in fields:
            cells = (
                f"`{field.name}`",
                f"`{field.default!r}`",
                field.metadata.get("values", ""),
                meanings.get(field.name, ""),
            )
            lines.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    say(*markdown().splitlines())
