"""The page of all settings: whole, current, and true to the sections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from jobs import write_options
from jobs.write_options import PAGE, TREES, Setting, Tree, options_page, settings
from ladd_ray.config import Section


class Inner(Section):
    """Something inside."""

    rate: float = Field(default=1e-5, gt=0, lt=1)
    """How fast | or slow."""


class Outer(Section):
    """All of it."""

    needed: tuple[str, ...]
    """Names."""
    how: Literal["left", "right"] = "left"
    """Which
    way."""
    sizes: tuple[tuple[int, int], ...] | None = ((64, 64), (64, 96))
    quiet: bool = False
    loud: bool = True
    folder: str | None = None
    others: tuple[float, ...] = ()
    inner: Inner = Inner()


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == options_page(), "a setting has changed: run python jobs/write_options.py"


def test_every_kind_of_setting_is_told_in_words() -> None:
    assert list(settings(Outer(needed=("a",)))) == [
        Setting("`needed`", "several: text", "must be given", "Names."),
        Setting("`how`", "`left`, `right`", "`left`", "Which way."),
        Setting("`sizes`", "several: whole number and whole number", "`64 64 64 96`", ""),
        Setting("`quiet`", "yes or no", "no", ""),
        Setting("`loud`", "yes or no", "yes", ""),
        Setting("`folder`", "text", "`None`", ""),
        Setting("`others`", "several: number", "empty", ""),
        Setting("`inner.rate`", "number above 0 below 1", "`1e-05`", r"How fast \| or slow."),
    ]


def test_a_section_has_a_heading_and_its_settings_once() -> None:
    page = options_page([Tree("Try, it", "`jobs/try.py`", Outer(needed=("a",)))])
    assert "- [Try, it](#try-it): `jobs/try.py`" in page
    assert page.index("## Try, it\n\nAll of it.") < page.index("### Try, it: inner\n\nSomething inside.")
    assert page.count("`inner.rate`") == page.count("`needed`") == 1


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.title)
def test_every_setting_has_a_reason(tree: Tree) -> None:
    silent = [setting.name for setting in settings(tree.defaults) if not setting.meaning]
    assert not silent, f"write a docstring below {silent}"


def test_the_job_writes_where_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["write_options.py", "--output", str(tmp_path / "page.md")])
    write_options.main()
    assert (tmp_path / "page.md").read_text() == options_page()
