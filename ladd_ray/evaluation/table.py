"""Scores as Markdown tables, of one evaluation or of several that were made in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ladd_ray.data.edits import KINDS
from ladd_ray.data.masks import MASK_KINDS
from ladd_ray.evaluation.protocol import HASH, require_same_protocol

Document = Mapping[str, Any]
"""An evaluation as it stands in results.json: protocol, labels and scores by row, and the same for each other task."""

Entry = tuple[str, tuple[str, ...]]
"""Label and cells of a row; an empty cell has no score."""


class Column(NamedTuple):
    """A number of every row."""

    title: str
    place: tuple[str, ...]
    """Keys that lead to the number among the scores of a row."""
    digits: int
    half_width: tuple[str, ...] = ()
    """Keys that lead to half a confidence interval."""


SPEED_COLUMNS: Sequence[Column] = (
    Column("s/image alone", ("latency", "alone"), 4),
    Column("s/image in batch", ("latency", "in_batch"), 4),
)
COLUMNS: Sequence[Column] = (
    Column("KID", ("kid", "value"), 4),
    Column("FID", ("fid", "value"), 1),
    Column("precision", ("precision_recall", "precision"), 3),
    Column("recall", ("precision_recall", "recall"), 3),
    Column("judge", ("judge", "overall"), 3, ("judge", "overall_half_width")),
    Column("all facts", ("judge", "all_right", "value"), 3, ("judge", "all_right", "half_width")),
    Column("CLIP score", ("clip", "value"), 2),
    Column("diversity", ("diversity", "value"), 4),
    *SPEED_COLUMNS,
)
EDIT_COLUMNS: Sequence[Column] = (
    Column("success", ("edit", "success", "value"), 3, ("edit", "success", "half_width")),
    Column("in place", ("edit", "placed", "value"), 3),
    Column("PSNR of the rest", ("edit", "rest_psnr"), 1),
    Column("feature distance", ("edit", "feature_distance"), 4),
    *(Column(kind, ("edit", "by_kind", kind, "value"), 2) for kind in KINDS),
    *SPEED_COLUMNS,
)
INPAINT_COLUMNS: Sequence[Column] = (
    Column("success", ("inpaint", "success", "value"), 3, ("inpaint", "success", "half_width")),
    Column("difference of the rest", ("inpaint", "rest_difference"), 0),
    *(Column(kind, ("inpaint", "by_kind", kind, "value"), 2) for kind in MASK_KINDS),
    *SPEED_COLUMNS,
)
TASK_TABLES: Mapping[str, tuple[str, Sequence[Column]]] = MappingProxyType(
    {"edit": ("Editing", EDIT_COLUMNS), "inpaint": ("Inpainting", INPAINT_COLUMNS)}
)
"""Title and columns of each task but generating."""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of ready texts, one for each word of the head in every row."""
    lines = [head, *rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(head), *text[1:]])


def all_tables(documents: Mapping[str, Document]) -> str:
    """The table of generating, and one under its title for each other task of the first evaluation.

    Args:
        documents: as for ``results_table``.

    Raises:
        ValueError: an evaluation was made in another way; says how.
    """
    first = next(iter(documents.values()))
    parts = [results_table(documents)]
    for task in first["tasks"]:
        title, columns = TASK_TABLES[task]
        own = {name: document["tasks"][task] for name, document in documents.items() if task in task_results(document)}
        parts += [f"## {title}", results_table(own, columns=columns)]
    return "\n\n".join(parts)


def task_results(document: Document) -> Mapping[str, Document]:
    """Results of each task but generating; older evaluations know none."""
    results: Mapping[str, Document] = document.get("tasks", {})
    return results


def results_table(documents: Mapping[str, Document], *, columns: Sequence[Column] = COLUMNS) -> str:
    """The rows of all evaluations under one head; a row that several of them have comes once.

    Args:
        documents: Name of an evaluation to its results; the first one is the standard.
        columns: Of the task; those without a number are left out.

    Raises:
        ValueError: an evaluation was made in another way; says how.
    """
    first, *others = documents
    protocol = documents[first]["protocol"]
    for name in others:
        require_same_protocol(protocol, documents[name]["protocol"], where=name)
    entries = _joined(row for document in documents.values() for row in _rows(document, columns))
    used = [number for number in range(len(columns)) if any(cells[number] for _, cells in entries)]
    head = ["sampler", *(columns[number].title for number in used)]
    rows = [[label, *(cells[number] or "-" for number in used)] for label, cells in entries]
    notes = [*_notes(documents[first]), *_speed_notes(documents)]
    return "\n\n".join([*notes, markdown_table(head, rows)])


def _joined(rows: Iterable[Entry]) -> list[Entry]:
    """All rows; those of one label that agree in every score that both have become one."""
    entries: list[Entry] = []
    for label, cells in rows:
        places = (place for place, (name, known) in enumerate(entries) if name == label and _agree(known, cells))
        place = next(places, None)
        if place is None:
            entries.append((label, cells))
        else:
            known = entries[place][1]
            entries[place] = label, tuple(one or other for one, other in zip(known, cells, strict=True))
    return entries


def _agree(cells: Sequence[str], others: Sequence[str]) -> bool:
    common = [(one, other) for one, other in zip(cells, others, strict=True) if one and other]
    return bool(common) and all(one == other for one, other in common)


def _rows(document: Document, columns: Sequence[Column]) -> Iterator[Entry]:
    for name, scores in document["scores"].items():
        yield document["labels"][name], tuple(_cell(scores, column) for column in columns)


def _cell(scores: Mapping[str, Any], column: Column) -> str:
    value, half_width = _find(scores, column.place), _find(scores, column.half_width)
    if value is None:
        return ""
    spread = "" if half_width is None else f" +- {half_width:.{column.digits}f}"
    return f"{value:.{column.digits}f}{spread}"


def _find(scores: Any, place: Sequence[str]) -> float | None:
    for key in place:
        scores = scores.get(key) if isinstance(scores, Mapping) else None
    return None if isinstance(scores, Mapping) else scores


def _notes(document: Document) -> Iterator[str]:
    protocol, floor = document["protocol"], document.get("kid_floor")
    count = protocol["num_images"]
    yield f"{count} pictures in each set, protocol {protocol[HASH]}."
    if floor is not None:
        yield (
            f"Distances by {protocol['features']} to {protocol['reference']}; "
            f"KID of its own halves {floor['mean']:.4f} +- {floor['std']:.4f}. "
            f"FID is biased upwards at {count} pictures."
        )


def _speed_notes(documents: Mapping[str, Document]) -> Iterator[str]:
    """Where the seconds were measured; names the rows where that was not everywhere the same."""
    places: dict[str, list[str]] = {}
    for document in documents.values():
        for name, scores in document["scores"].items():
            if latency := scores.get("latency"):
                size = f"{latency['height']} x {latency['width']}"
                place = f"{latency['machine']}; a batch is {latency['batch_size']} of {size}"
                places.setdefault(place, []).append(document["labels"][name])
    for place, labels in places.items():
        whose = "" if len(places) == 1 else f" of {', '.join(dict.fromkeys(labels))}"
        yield f"Seconds{whose} on {place}."
