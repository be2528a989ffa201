"""The rules of the house, read from the source with ast: floors, owners of libraries, names and lengths.

A rule takes a module and yields complaints that say what to do. Every rule is handed offenders too: one that
has gone blind fails.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("ladd_ray", "jobs", "tune", "serve", "tests")

FLOORS = {
    "ladd_ray": 0,
    "ladd_ray.admission": 0,
    "ladd_ray.baseline_sections": 0,
    "ladd_ray.compare_config": 0,
    "ladd_ray.config": 0,
    "ladd_ray.data_sections": 0,
    "ladd_ray.evaluate_config": 0,
    "ladd_ray.pretrain_config": 0,
    "ladd_ray.sections": 0,
    "ladd_ray.sweep_config": 0,
    "ladd_ray.sweep_records": 0,
    "ladd_ray.sweep_space": 0,
    "ladd_ray.recipes": 0,
    "ladd_ray.interfaces": 0,
    "ladd_ray.method_sections": 0,
    "ladd_ray.algorithm": 1,
    "ladd_ray.models": 2,
    "ladd_ray.engine": 2,
    "ladd_ray.data": 2,
    "ladd_ray.tracking": 2,
    "ladd_ray.sweep_tracking": 3,
    "ladd_ray.registry": 3,
    "ladd_ray.inference": 3,
    "ladd_ray.evaluation": 3,
    "ladd_ray.training": 4,
    "jobs": 5,
    "tune": 5,
    "serve": 5,
}

OWNERS = {
    "deepspeed": ("ladd_ray/engine/zero.py",),
    "diffusers": ("ladd_ray/models/",),
    "transformers": ("ladd_ray/models/",),
    "mlflow": ("ladd_ray/tracking.py", "ladd_ray/sweep_tracking.py", "ladd_ray/registry.py"),
    "open_clip": ("ladd_ray/evaluation/clip.py",),
    "gradio": ("serve/page/",),
    "optuna": ("ladd_ray/training/sweeping/search.py", "ladd_ray/evaluation/sweep_importance.py"),
    "ray": ("ladd_ray/training/", "ladd_ray/data/", "jobs/", "tune/", "serve/"),
}

ALGORITHM_MAY_IMPORT = {"torch", "einops", *sys.stdlib_module_names}
ALGORITHM_MAY_SEE = {"ladd_ray.algorithm", "ladd_ray.config", "ladd_ray.interfaces", "ladd_ray.pretrain_config"}

EMPTY_FILE_NAMES = {"util", "utils", "helper", "helpers", "common", "misc"}
BETTER_NAMES = {"cfg": "config", "ckpt": "checkpoint", "critic": "heads", "disc": "heads"}
MAX_LINES = 300


class Module(NamedTuple):
    path: str
    """Path from the root of the repository, with forward slashes."""
    text: str

    @property
    def unit(self) -> str:
        return unit_of(".".join(Path(self.path).with_suffix("").parts))

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(ast.parse(self.text, self.path))


Rule = Callable[[Module], Iterator[str]]


def unit_of(dotted: str) -> str:
    """The part of the house that a module or a name in it belongs to: `ladd_ray.models`, `jobs`, `torch`."""
    top, *rest = dotted.split(".")
    if top != "ladd_ray" or not rest:
        return top
    return f"{top}.{rest[0]}"


def imports(module: Module) -> Iterator[tuple[str, str]]:
    """Every import as (place for a complaint, absolute dotted name), those inside functions too."""
    package = Path(module.path).parent.parts
    for node in module.nodes():
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            prefix = ".".join([*base, *filter(None, [node.module])])
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((f"{module.path}:{node.lineno}", name) for name in names)


def every_module_has_a_floor(module: Module) -> Iterator[str]:
    if module.unit not in {*FLOORS, "ladd_ray.__init__", "tests"}:
        yield f"{module.path}: {module.unit} has no floor: move it, or enter it in FLOORS and ARCHITECTURE.md"


def imports_point_down(module: Module) -> Iterator[str]:
    own = module.unit
    if own == "tests":
        return
    floor = FLOORS.get(own, 0)
    for place, name in imports(module):
        other = unit_of(name)
        level = FLOORS.get(other, 0 if other.startswith("ladd_ray") else -1)
        if other != own and level >= max(floor, 1):
            yield (
                f"{place}: {own} (floor {floor}) imports {other} (floor {level}): "
                "take it as an argument, or join the two one floor higher"
            )


def libraries_stay_with_their_owner(module: Module) -> Iterator[str]:
    for place, name in imports(module):
        library = name.split(".")[0]
        owners = OWNERS.get(library, ("",))
        if not module.path.startswith((*owners, "tests/")):
            yield f"{place}: only {', '.join(owners)} may import {library}: use what is there, or add to it"


def algorithm_is_plain_torch(module: Module) -> Iterator[str]:
    if module.unit != "ladd_ray.algorithm":
        return
    for place, name in imports(module):
        if unit_of(name) not in ALGORITHM_MAY_SEE and name.split(".")[0] not in ALGORITHM_MAY_IMPORT:
            yield f"{place}: {name}: the algorithm is torch and einops only: take it as an argument"


def file_names_say_something(module: Module) -> Iterator[str]:
    if Path(module.path).stem in EMPTY_FILE_NAMES:
        yield f"{module.path}: name the file after what it does, or move each function next to its caller"


def files_are_short(module: Module) -> Iterator[str]:
    length = len(module.text.splitlines())
    if length > MAX_LINES:
        yield f"{module.path}: {length} lines: split it along its sections to stay within {MAX_LINES}"


def identifiers(node: ast.AST) -> list[str | None]:
    """The names that a node brings in or uses."""
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(asname=name):
            return [name]
    return []


def names_are_the_agreed_ones(module: Module) -> Iterator[str]:
    for node in module.nodes():
        for name in identifiers(node):
            if name in BETTER_NAMES:
                line = getattr(node, "lineno", "?")
                yield f"{module.path}:{line}: {name} is not a name here: write {BETTER_NAMES[name]}"


RULES: tuple[Rule, ...] = (
    every_module_has_a_floor,
    imports_point_down,
    libraries_stay_with_their_owner,
    algorithm_is_plain_torch,
    file_names_say_something,
    files_are_short,
    names_are_the_agreed_ones,
)

OFFENDERS = [
    (every_module_has_a_floor, "ladd_ray/losses.py", "", "has no floor"),
    (imports_point_down, "ladd_ray/algorithm/ladd.py", "from ladd_ray.models import sd3", "floor 2"),
    (imports_point_down, "ladd_ray/data/encode.py", "from ladd_ray import models", "ladd_ray.models"),
    (imports_point_down, "ladd_ray/data/encode.py", "from ..engine.zero import prepare", "ladd_ray.engine"),
    (imports_point_down, "ladd_ray/config.py", "import ladd_ray.training.loop", "floor 4"),
    (imports_point_down, "ladd_ray/__init__.py", "from .inference import Pipeline", "floor 3"),
    (imports_point_down, "ladd_ray/evaluation/scores.py", "import ladd_ray.training.report", "floor 4"),
    (imports_point_down, "ladd_ray/inference/pipeline.py", "from ..evaluation import kid", "ladd_ray.evaluation"),
    (imports_point_down, "ladd_ray/training/loop.py", "def f():\n    import jobs.distill", "loop.py:2"),
    (imports_point_down, "serve/app.py", "from tune.spaces import space", "serve (floor 5) imports tune"),
    (libraries_stay_with_their_owner, "ladd_ray/engine/checkpoint.py", "import deepspeed.ops", "deepspeed"),
    (libraries_stay_with_their_owner, "ladd_ray/training/loop.py", "from diffusers import x", "diffusers"),
    (libraries_stay_with_their_owner, "ladd_ray/inference/pipeline.py", "import transformers", "models/"),
    (libraries_stay_with_their_owner, "jobs/distill.py", "import mlflow", "tracking.py"),
    (libraries_stay_with_their_owner, "ladd_ray/models/sd3.py", "from ray import train", "ladd_ray/data/"),
    (algorithm_is_plain_torch, "ladd_ray/algorithm/flow.py", "import numpy as np", "numpy"),
    (algorithm_is_plain_torch, "ladd_ray/algorithm/flow.py", "from ladd_ray.recipes import tiny", "recipes"),
    (file_names_say_something, "serve/utils.py", "", "what it does"),
    (files_are_short, "jobs/distill.py", "\n" * (MAX_LINES + 1), "301 lines"),
    (names_are_the_agreed_ones, "jobs/distill.py", "def run(cfg): ...", "write config"),
    (names_are_the_agreed_ones, "jobs/distill.py", "import torch\n\nrun(ckpt=1)", "distill.py:3"),
    (names_are_the_agreed_ones, "jobs/distill.py", "import ladd_ray.config as cfg", "write config"),
]


def house() -> list[Module]:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_keeps_rule(rule: Rule) -> None:
    complaints = [complaint for module in house() for complaint in rule(module)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_house_is_read_whole() -> None:
    paths = {module.path for module in house()}
    assert {"ladd_ray/config.py", "ladd_ray/interfaces.py", "tests/test_architecture.py"} <= paths
    gone = {unit for unit in FLOORS if "." in unit} - {module.unit for module in house()}
    assert not gone, f"take {sorted(gone)} out of FLOORS and ARCHITECTURE.md: nothing is there any more"


@pytest.mark.parametrize(("rule", "path", "source", "complaint"), OFFENDERS)
def test_rule_catches_offender(rule: Rule, path: str, source: str, complaint: str) -> None:
    complaints = list(rule(Module(path, source)))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_rules_let_good_code_pass() -> None:
    loop = "import ray\nfrom ladd_ray import config\nfrom ladd_ray.engine import zero\nfrom . import launch"
    ladd = "import math\nfrom torch import nn\nfrom .flow import add_noise"
    modules = Module("ladd_ray/training/loop.py", loop), Module("ladd_ray/algorithm/ladd.py", ladd)
    assert [complaint for rule in RULES for module in modules for complaint in rule(module)] == []


def test_every_rule_has_an_offender() -> None:
    assert {rule for rule, *_ in OFFENDERS} == set(RULES)
