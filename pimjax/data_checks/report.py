"""A check's findings as text and as JSON."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from pimjax.data_checks.checks import Finding
from pimjax.data_checks.facts import Facts
from pimjax.files import printable, write_text

SHOWN = 10  # examples named per finding; the JSON has all


def findings_table(summary: dict[str, str], findings: Sequence[Finding]) -> str:
    """Return Markdown: what there is, then every finding with its first examples."""
    lines = ["| what | found |", "|---|---|", *(f"| {name} | {printable(text)} |" for name, text in summary.items())]
    for finding in findings:
        verdict = " (forbids training)" if finding.fatal else ""
        lines += ["", f"{finding.kind}{verdict}: {len(finding.examples)}. {finding.what[0].upper()}{finding.what[1:]}:"]
        lines += [f"- {printable(example)}" for example in finding.examples[:SHOWN]]
        if len(finding.examples) > SHOWN:
            lines.append(f"- … and {len(finding.examples) - SHOWN} more")
    return "\n".join(lines)


def write_json(path: Path, source: str, facts: Sequence[Facts], findings: Sequence[Finding]) -> None:
    """Write facts of every example and all findings; missing folders are made, errors are those of `write_text`."""
    rows = [dataclasses.asdict(fact) | {"perceptual_hash": fact.perceptual_hash.hex()} for fact in facts]
    content = {"source": source, "findings": [dataclasses.asdict(f) for f in findings], "examples": rows}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
