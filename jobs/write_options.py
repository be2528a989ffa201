"""Write docs/options.md: every setting of every job with its values, its default and its reason.

    python jobs/write_options.py

The text is that of the docstrings beside the settings, so change it there. A test compares the page with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import annotated_types
import tyro

from ladd_ray.compare_config import CompareConfig
from ladd_ray.config import Config, Section
from ladd_ray.evaluate_config import EvaluateConfig, ShowcaseConfig
from ladd_ray.evaluation.table import markdown_table
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.sweep_config import SweepConfig
from ladd_ray.training.pretraining.settings import PretrainConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"

HEAD = """\
# Every setting

Written by `python jobs/write_options.py` from the docstrings beside the settings; change it there.

On the command line a setting is its dotted name: `--student.lr 1e-4`, `--noise.levels 1 0.5`. A yes-or-no setting is a
flag: `--teacher.sharded` where the default is no, `--data.no-store-prompt-embeds` where it is yes. `None` unsets.
Defaults are those of the sections; a recipe may begin elsewhere, and `--dry-run` prints what a run would really have.
"Paper" is the one that a section names, else LADD's (arXiv 2403.12015); "ours" marks what no paper says.
"""

NUMBERS = {int: "whole number", float: "number"}
BOUNDS = {
    annotated_types.Ge: ("ge", "from"),
    annotated_types.Gt: ("gt", "above"),
    annotated_types.Le: ("le", "to"),
    annotated_types.Lt: ("lt", "below"),
    annotated_types.MultipleOf: ("multiple_of", "in multiples of"),
}


class Tree(NamedTuple):
    """The settings of some jobs."""

    title: str
    jobs: str
    defaults: Section


TREES = (
    Tree("Distillation", "`jobs/distill.py`, `jobs/synthesize.py`", Config()),
    Tree("Continued training", "`jobs/pretrain.py stickers_tasks`, `sd3_medium_tasks`", FinetuneConfig()),
    Tree("The embedded model, from nothing", "`jobs/pretrain.py stickers`", PretrainConfig()),
    Tree("Evaluation", "`jobs/evaluate.py`", EvaluateConfig(models=("stickers",))),
    Tree("Comparison of methods", "`jobs/compare.py`", CompareConfig()),
    Tree("Sweep", "`tune/sweep.py`", SweepConfig(recipe="stickers")),
    Tree("Sheets of what a model draws", "`jobs/draw_teacher.py`", ShowcaseConfig()),
)


class Setting(NamedTuple):
    """A row of a table."""

    name: str
    values: str
    default: str
    meaning: str


def options_page(trees: Sequence[Tree] = TREES) -> str:
    """The whole page as Markdown."""
    contents = "\n".join(f"- [{tree.title}](#{_anchor(tree.title)}): {tree.jobs}" for tree in trees)
    return "\n".join([HEAD, contents, *(part for tree in trees for part in _chapter(tree))]) + "\n"


def settings(section: Section, prefix: str = "") -> Iterator[Setting]:
    """All settings of a section and of those inside of it."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from settings(value, f"{prefix}{name}.")
        else:
            default = "must be given" if field.is_required() else shown(value)
            values = " ".join([kind(field.annotation), *_bounds(field.metadata)])
            yield Setting(f"`{prefix}{name}`", values, default, _one_line(field.description or ""))


def kind(annotation: Any) -> str:
    """What values a type has, in words."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in parts)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(kind(part) for part in parts if part is not NoneType)
    if get_origin(annotation) is tuple and parts[-1] is Ellipsis:
        return f"several: {kind(parts[0])}"
    if get_origin(annotation) is tuple:
        return " and ".join(kind(part) for part in parts)
    if get_origin(annotation) is dict:
        return "names with values"
    return "yes or no" if annotation is bool else NUMBERS.get(annotation, "text")


def shown(value: Any) -> str:
    """A default as one would type it."""
    if value in ((), {}):
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{' '.join(_words(value))}`"


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for part in value:
            yield from _words(part)
    else:
        yield f"{value:g}" if isinstance(value, float) else str(value)


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for bound in metadata:
        if type(bound) in BOUNDS:
            attribute, word = BOUNDS[type(bound)]
            yield f"{word} {getattr(bound, attribute):g}"


def _chapter(tree: Tree) -> Iterator[str]:
    yield f"\n## {tree.title}\n\n{_one_line(type(tree.defaults).__doc__ or '')}\n"
    inner = {name: value for name, value in tree.defaults if isinstance(value, Section)}
    yield _table(setting for setting in settings(tree.defaults) if setting.name.strip("`").split(".")[0] not in inner)
    for name, section in inner.items():
        yield f"\n### {tree.title}: {name}\n\n{_one_line(type(section).__doc__ or '')}\n"
        yield _table(settings(section, f"{name}."))


def _table(rows: Iterator[Setting]) -> str:
    return markdown_table(("setting", "values", "default", "meaning"), [list(row) for row in rows])


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", r"\|").replace("*", r"\*")


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def write(output: Path = PAGE) -> None:
    """Write the page.

    Args:
        output: Where to.
    """
    output.write_text(options_page())
    print(output)


def main() -> None:
    """Command line of the job."""
    tyro.cli(write, description=__doc__)


if __name__ == "__main__":
    main()
