"""The note that says how a folder of stored rows was made; it is written last, so that it marks a finished folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

PROVENANCE_NAME = "provenance.json"


@dataclass(frozen=True)
class Facts:
    """Base of provenances: everything that shapes a set; equal facts mean equal rows."""

    @property
    def key(self) -> str:
        """Short name for a folder of such rows."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Mark ``folder`` as complete."""
        (folder / PROVENANCE_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n")


Kind = TypeVar("Kind", bound=Facts)


def read_facts(folder: Path, kind: type[Kind]) -> Kind:
    """The facts of a complete folder.

    Raises:
        ValueError: not a folder of rows, one that was never finished, or one of another kind or version.
    """
    path = folder / PROVENANCE_NAME
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no finished latents (no {PROVENANCE_NAME}): make them again, or name another folder"
        )
    facts = json.loads(path.read_text())
    names = {field.name for field in fields(kind)}
    if facts.keys() != names:
        raise ValueError(f"{path} should name {sorted(names)}, not {sorted(facts)}: draw the latents anew")
    return kind(**facts)


def require_same(folder: Path, expected: Facts, *, setting: str) -> None:
    """Refuse a folder to reuse whose rows were made in another way.

    Raises:
        ValueError: with the names of the facts that differ; ``setting`` is what names the folder.
    """
    found = vars(read_facts(folder, type(expected)))
    wrong = [name for name, value in vars(expected).items() if found[name] != value]
    if wrong:
        raise ValueError(
            f"{folder} was drawn with another {', '.join(wrong)}: set data to match {folder / PROVENANCE_NAME}, "
            f"or leave {setting} out to draw new latents"
        )
