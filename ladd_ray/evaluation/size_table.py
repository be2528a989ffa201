"""Is every picture shape drawn as well as the square? One Markdown table of all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ladd_ray.evaluation.table import Document, markdown_table, task_results

GENERATE = "generate"
PLACES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {GENERATE: ("judge", "by_size"), "edit": ("edit", "by_size"), "inpaint": ("inpaint", "by_size")}
)
"""Where the shares by picture size stand among the scores of each task."""
TITLE = "## By picture size"
NOTE = (
    "Share of pictures with every fact right, by height x width. The last column is what the worst size keeps of the "
    "{height} x {width} one's share."
)

Size = tuple[int, int]
Shares = Mapping[str, Mapping[str, float]]
"""Size as ``judge.size_name`` writes it, to share and half width."""


def size_table(documents: Mapping[str, Document]) -> str:
    """How often everything is right at each picture size, in all tasks, under a title; "" where there is one size.

    Args:
        documents: Name of an evaluation to its results; the sizes are those of the first one.
    """
    sizes = _sizes(next(iter(documents.values())))
    if len(sizes) < 2:
        return ""
    # Without a square, the first size stands in.
    height, width = next((size for size in sizes if size[0] == size[1]), sizes[0])
    head = ["sampler", "task", *(f"{rows} x {columns}" for rows, columns in sizes), f"worst / {height} x {width}"]
    rows = [
        (label, task, *(_cell(shares.get(_key(size))) for size in sizes), _worst(shares, _key((height, width))))
        for task, label, shares in _all_shares(list(documents.values()))
    ]
    # A row that several evaluations have comes once.
    table = markdown_table(head, list(dict.fromkeys(rows)))
    return "\n\n".join([TITLE, NOTE.format(height=height, width=width), table])


def _sizes(document: Document) -> list[Size]:
    """Distinct heights and widths, in order."""
    found = [(height, width) for height, width in document["protocol"].get("sizes", ())]
    return list(dict.fromkeys(found))


def _key(size: Size) -> str:
    height, width = size
    return f"{height}x{width}"


def _all_shares(documents: Iterable[Document]) -> Iterator[tuple[str, str, Shares]]:
    """Task, label and shares of every row that has them, task by task."""
    for task, (score, place) in PLACES.items():
        for document in documents:
            results: Document = document if task == GENERATE else task_results(document).get(task, {})
            for name, scores in results.get("scores", {}).items():
                shares: Any = scores.get(score, {}).get(place)
                if shares:
                    yield task, results["labels"][name], shares


def _cell(share: Mapping[str, float] | None) -> str:
    return "-" if share is None else f"{share['value']:.3f} +- {share['half_width']:.3f}"


def _worst(shares: Shares, standard: str) -> str:
    if standard not in shares or not shares[standard]["value"]:
        return "-"
    return f"{min(share['value'] for share in shares.values()) / shares[standard]['value']:.2f}"
