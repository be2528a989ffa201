"""Results on paper: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.sections import Outcome, SectionResult

LIBRARIES = ("torch", "diffusers", "deepspeed", "transformers")


def describe_machine(device: torch.device) -> Mapping[str, str]:
    """Device and library versions."""
    gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if gpu else platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
    }


def write_results(output: Path, machine: Mapping[str, str], sections: Sequence[SectionResult]) -> None:
    """Writes ``output`` and, with the suffix .md, the same for people."""
    results = {"machine": machine, "sections": [section.to_json() for section in sections]}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n")
    output.with_suffix(".md").write_text(to_markdown(machine, sections))


def to_markdown(machine: Mapping[str, str], sections: Sequence[SectionResult]) -> str:
    """A line on the machine and one table for each section."""
    versions = ", ".join(f"{name} {value}" for name, value in machine.items() if name != "device")
    parts = [
        f"# Benchmarks on {machine['device']}",
        versions,
        *(_section_markdown(part) for part in sections),
    ]
    return "\n\n".join(parts) + "\n"


def _section_markdown(section: SectionResult) -> str:
    columns = list(dict.fromkeys(column for outcome in section.outcomes for column in outcome.row))
    header = ["case", "status", "seconds", *columns]
    lines = [_line(header), _line(["---"] * len(header))]
    lines += [_line(_cells(outcome, columns)) for outcome in section.outcomes]
    reasons = [f"- {outcome.name}: {outcome.reason}" for outcome in section.outcomes if outcome.reason]
    return "\n".join([f"## {section.name}", "", section.title, "", *lines, *([""] if reasons else []), *reasons])


def _cells(outcome: Outcome, columns: Sequence[str]) -> list[str]:
    values = [_cell(outcome.row.get(column)) for column in columns]
    return [outcome.name, outcome.status, _cell(outcome.seconds), *values]


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
    return str(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"
