"""The note that says how a folder of stored rows was made, which files it has, and whether it is whole.

An unfinished folder carries the note too, so that whoever goes on with it knows what it was to become.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

PROVENANCE_NAME = "provenance.json"
FORMAT = 2
"""Of notes and rows; sets of another format have other keys."""


@dataclass(frozen=True)
class Facts:
    """Base of provenances: everything that shapes a set; equal facts mean equal rows."""

    @property
    def key(self) -> str:
        """Short name for a folder of such rows."""
        return _digest({"format": FORMAT, **asdict(self)})[:16]


Kind = TypeVar("Kind", bound=Facts)


def begin(folder: Path, facts: Facts) -> None:
    """Note in a folder what it is to become."""
    _write(folder, facts, files={}, finished=False)


def finish(folder: Path, facts: Facts) -> None:
    """Note that the folder is whole, with the SHA-256 of every file in it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != PROVENANCE_NAME)
    _write(folder, facts, files=dict(zip((path.name for path in files), _hashes(files), strict=True)), finished=True)


def began_as(folder: Path, facts: Facts) -> bool:
    """Whether an unfinished folder was to become such rows."""
    path = folder / PROVENANCE_NAME
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text()).get("facts") == asdict(facts))
    except json.JSONDecodeError:
        return False


def read_facts(folder: Path, kind: type[Kind]) -> Kind:
    """The facts of a complete folder.

    Raises:
        ValueError: not a folder of rows, one that was never finished, of another kind or version, or changed by hand.
    """
    facts: dict[str, Any] = _read(folder)["facts"]
    names = {field.name for field in fields(kind)}
    if facts.keys() != names:
        raise ValueError(
            f"{folder / PROVENANCE_NAME} should name {sorted(names)}, not {sorted(facts)}: make the rows anew"
        )
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


def require_intact(folder: Path, *, contents: bool = True) -> None:
    """Refuse a folder whose files are not those that were written.

    Args:
        folder: a finished set.
        contents: compare the SHA-256 of every file too, and not only which files there are.

    Raises:
        ValueError: with the names of what is missing, new or changed.
    """
    expected: Mapping[str, str] = _read(folder)["files"]
    found = {path.name for path in folder.iterdir() if path.is_file()} - {PROVENANCE_NAME}
    wrong = found ^ expected.keys()
    if not wrong and contents:
        names = sorted(expected)
        digests = _hashes([folder / name for name in names])
        wrong = {name for name, digest in zip(names, digests, strict=True) if digest != expected[name]}
    if wrong:
        raise ValueError(
            f"{folder} was changed after it was made ({', '.join(sorted(wrong)[:5])}): put back what was there, "
            "or delete the folder to make it anew"
        )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / PROVENANCE_NAME
    note = json.loads(path.read_text()) if path.is_file() else {}
    if not path.is_file() or note.get("finished") is False:
        raise ValueError(
            f"{folder} holds no finished rows (no finished {PROVENANCE_NAME}): make them again, or name another folder"
        )
    if note.get("format") != FORMAT:
        raise ValueError(f"{path} is of another version of this package: make the rows anew")
    if note.pop("seal", None) != _digest(note):
        raise ValueError(f"{path} was changed by hand: put it back as it was, or make the rows anew")
    return dict(note)


def _write(folder: Path, facts: Facts, *, files: Mapping[str, str], finished: bool) -> None:
    note = {"format": FORMAT, "finished": finished, "facts": asdict(facts), "files": dict(files)}
    partial = folder / f"{PROVENANCE_NAME}.part"
    partial.write_text(json.dumps({**note, "seal": _digest(note)}, indent=2) + "\n")
    partial.replace(folder / PROVENANCE_NAME)


def _hashes(files: list[Path]) -> list[str]:
    """SHA-256 of whole files; several at a time, since hashing leaves the interpreter free."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(_hash, files))


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
