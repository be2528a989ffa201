"""Who owns the name of a run, and which settings make it another run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ladd_ray.config import Config, override
from ladd_ray.recipes import stickers_tasks
from ladd_ray.training.run_folder import OPERATIONAL, claim, identity, identity_hash
from tests.training.runs import TEACHER

OTHER_RUN = [
    {"student.lr": 5e-4},
    {"discriminator.width": 16},
    {"noise.levels": (1.0, 0.8, 0.5, 0.25)},
    {"data.guidance_scale": 4.0},
    {"run.seed": 1},
    {"run.steps": 11},
    {"run.global_batch_size": 8},
    {"run.gradient_accumulation_steps": 2},
]
SAME_RUN = [
    {"run.num_workers": 2, "run.engine": "deepspeed"},
    {"tracking.uri": "http://127.0.0.1:5000", "tracking.experiment": "other"},
    {"run.checkpoint_every": 1, "run.checkpoints_to_keep": 5},
    {"run.threads_per_worker": 4},
    {"evaluation.batch_size": 3},
    {"data.latents": "/somewhere/else"},
]


def test_claiming_writes_what_the_run_is(config: Config) -> None:
    folder = claim(config, teacher=TEACHER)
    assert folder.path == config.run_directory
    document = json.loads((folder.path / "config.json").read_text())
    assert Config.model_validate(document["config"]) == config
    assert document["teacher_fingerprint"] == TEACHER
    assert document["versions"]["torch"].startswith("2.")


def test_the_same_configuration_finds_its_folder_again(config: Config) -> None:
    folder = claim(config, teacher=TEACHER)
    document = (folder.path / "config.json").read_bytes()
    (folder.path / "checkpoints").mkdir()
    assert claim(config, teacher=TEACHER) == folder
    assert (folder.path / "config.json").read_bytes() == document


@pytest.mark.parametrize("changes", OTHER_RUN, ids=lambda changes: next(iter(changes)))
def test_another_configuration_is_refused_and_the_setting_named(config: Config, changes: dict[str, Any]) -> None:
    claim(config, teacher=TEACHER)
    with pytest.raises(ValueError, match="another configuration") as refusal:
        claim(override(config, changes), teacher=TEACHER)
    message = str(refusal.value)
    assert [line.strip().partition(":")[0] for line in message.splitlines()[1:-1]] == list(changes)
    assert "choose another run.name" in message


def test_settings_newer_than_a_run_have_their_defaults(config: Config) -> None:
    document = claim(config, teacher=TEACHER).path / "config.json"
    content = json.loads(document.read_text())
    del content["config"]["distillation"]["levels"], content["config"]["lora"]
    document.write_text(json.dumps(content))
    claim(config, teacher=TEACHER)
    with pytest.raises(ValueError, match=r"distillation\.levels: judge there, uniform now"):
        claim(override(config, {"distillation.levels": "uniform"}), teacher=TEACHER)


def test_a_run_with_settings_that_no_longer_exist_is_refused(config: Config) -> None:
    document = claim(config, teacher=TEACHER).path / "config.json"
    content = json.loads(document.read_text())
    content["config"]["student"]["colour"] = "red"
    document.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"another kind or version: choose another run\.name(?s:.*)student\.colour"):
        claim(config, teacher=TEACHER)


@pytest.mark.parametrize("changes", SAME_RUN, ids=lambda changes: next(iter(changes)))
def test_how_the_work_is_done_may_differ(config: Config, changes: dict[str, Any]) -> None:
    base = override(config, {"run.engine": changes.get("run.engine", "local")})
    assert claim(override(base, changes), teacher=TEACHER) == claim(base, teacher=TEACHER)
    assert identity_hash(override(base, changes), teacher=TEACHER) == identity_hash(base, teacher=TEACHER)


def test_another_teacher_is_another_run_but_its_place_is_not(config: Config) -> None:
    claim(config, teacher=TEACHER)
    claim(override(config, {"teacher.path": "/moved/teacher"}), teacher=TEACHER)
    with pytest.raises(ValueError, match=r"teacher\.fingerprint: 0123456789abcdef there, fedcba9876543210 now"):
        claim(config, teacher=TEACHER[::-1])


def test_operational_settings_exist(config: Config) -> None:
    sections = [*config.model_dump().items(), *stickers_tasks().model_dump().items()]
    known = {f"{section}.{name}" for section, names in sections if isinstance(names, dict) for name in names}
    assert {*known, *dict(sections)} >= OPERATIONAL
    assert not OPERATIONAL & identity(config, teacher=TEACHER).keys()


def test_a_folder_that_cannot_be_made_is_refused(config: Config) -> None:
    config.run_directory.parent.mkdir()
    config.run_directory.write_text("a file")
    for changes in ({}, {"run.directory": str(config.run_directory)}):
        with pytest.raises(ValueError, match=r"cannot write to .*: set run\.directory"):
            claim(override(config, changes), teacher=TEACHER)


def test_a_folder_that_may_not_be_written_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system call is replaced, because an administrator may write everywhere."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ValueError, match="is not writable"):
        claim(config, teacher=TEACHER)


@pytest.mark.parametrize(
    ("name", "content"),
    [("holiday.jpg", ""), ("config.json", "{}"), ("config.json", '{"model_type": "clip"}'), ("config.json", "[1]")],
)
def test_a_foreign_folder_is_left_alone(config: Config, name: str, content: str) -> None:
    config.run_directory.mkdir(parents=True)
    (config.run_directory / name).write_text(content)
    with pytest.raises(ValueError, match=r"is not empty and holds no run: choose another run\.name"):
        claim(config, teacher=TEACHER)
    assert (config.run_directory / name).read_text() == content
