"""The note beside stored rows: what it keeps, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ladd_ray.data.provenance import Facts, began_as, begin, finish, read_facts, require_intact, require_same
from tests.data.stored import Origin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished set of two files."""
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / name).write_text(f"rows of {name}")
    finish(tmp_path, Origin())
    return tmp_path


def change_note(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / "provenance.json"
    note = json.loads(path.read_text())
    change(note)
    path.write_text(json.dumps(note))


def test_facts_come_back(folder: Path) -> None:
    assert read_facts(folder, Origin) == Origin()
    require_same(folder, Origin(), setting="data.latents")
    require_intact(folder)


def test_all_that_shapes_rows_shapes_their_key() -> None:
    assert Origin().key == Origin().key
    keys = {Origin().key, Origin(seed=1).key, Origin(teacher="f" * 16).key}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("facts", "names"), [(Origin(seed=1), "seed"), (Origin(teacher="f", seed=2), "teacher, seed")], ids=["one", "two"]
)
def test_rows_made_in_another_way_are_refused(folder: Path, facts: Origin, names: str) -> None:
    with pytest.raises(ValueError, match=f"another {names}: set data to match .* or leave data.latents out"):
        require_same(folder, facts, setting="data.latents")


def test_facts_changed_by_hand_are_refused(folder: Path) -> None:
    change_note(folder, lambda note: note["facts"].update(seed=1))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="was changed by hand"):
        require_same(folder, Origin(seed=1), setting="data.latents")


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda folder: (folder / "a.parquet").write_text("rows of A.parquet"), "a.parquet"),
        (lambda folder: (folder / "b.parquet").unlink(), "b.parquet"),
        (lambda folder: (folder / "c.parquet").write_text("more"), "c.parquet"),
    ],
    ids=["changed", "missing", "new"],
)
def test_files_changed_afterwards_are_refused(folder: Path, damage: Callable[[Path], object], name: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=rf"was changed after it was made \({name}\)"):
        require_intact(folder)


def test_names_alone_are_a_quick_look(folder: Path) -> None:
    (folder / "a.parquet").write_text("rows of A.parquet")
    require_intact(folder, contents=False)
    (folder / "a.parquet").unlink()
    with pytest.raises(ValueError, match=r"a\.parquet"):
        require_intact(folder, contents=False)


def test_an_unfinished_folder_is_refused_and_known(tmp_path: Path) -> None:
    assert not began_as(tmp_path, Origin())
    begin(tmp_path, Origin())
    assert began_as(tmp_path, Origin())
    assert not began_as(tmp_path, replace(Origin(), seed=1))
    with pytest.raises(ValueError, match="holds no finished rows"):
        read_facts(tmp_path, Origin)
    (tmp_path / "provenance.json").write_text('{"format": 2, "fin')
    assert not began_as(tmp_path, Origin())


def test_a_folder_without_a_note_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished rows"):
        require_intact(tmp_path)


def test_notes_of_other_kinds_and_versions_are_refused(folder: Path) -> None:
    @dataclass(frozen=True)
    class Other(Facts):
        colour: str

    with pytest.raises(ValueError, match=r"should name \['colour'\]"):
        read_facts(folder, Other)
    change_note(folder, lambda note: note.update(format=1))
    with pytest.raises(ValueError, match="another version"):
        read_facts(folder, Origin)
