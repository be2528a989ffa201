"""The command line of the pretraining job: what it explains, what it refuses, what it starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import pretrain
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.recipes import TASK_RECIPES
from ladd_ray.training.pretraining.settings import PretrainConfig

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The job in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "100")  # wide enough for paths, too narrow for two columns of help

    def job(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["pretrain.py", *arguments])
        try:
            code = pretrain.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return job


def test_help_names_every_recipe(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("stickers", *TASK_RECIPES))
    assert "jobs/distill.py takes the pipeline as its teacher" in " ".join(out.split())


def test_help_of_a_recipe_explains_its_settings(run: Run) -> None:
    code, out, _ = run("sd3_medium_tasks", "--help")
    assert code == 0
    text = " ".join(out.replace("│", " ").split())
    assert "--data.source" in out
    assert "each with its text in a file of the same name (a.png, a.txt) or in metadata.jsonl" in text
    assert "stabilityai/stable-diffusion-3-medium-diffusers" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sticker_tasks",), "sticker_tasks"),
        (("stickers_tasks", "--optimizer.learning-rate", "1"), "--optimizer.learning-rate"),
        (("stickers_tasks", "--model.path", "/nowhere"), "no model folder at /nowhere"),
        (("stickers_tasks", "--data.source", "/nowhere/*.tar"), "nothing at data.source = /nowhere/*.tar"),
        (("stickers_tasks", "--data.num-rows", "5"), "does not fill one global batch"),
        (("stickers_tasks", "--data.buckets", "64", "60"), "multiples of 16 pixels"),
        (("stickers_tasks", "--data.buckets", "512", "512"), "must not exceed 256"),
        (("stickers_tasks", "--dropout.text", "0.95"), "must not exceed 1"),
        (("stickers_tasks", "--model.no-three-tasks"), "set data.tasks.edit and data.tasks.inpaint to 0"),
        (("stickers_tasks", "--optimizer.precision", "bf16"), "optimizer.autocast is for fp32 weights"),
    ],
    ids=["recipe", "field", "model", "source", "rows", "bucket", "large", "dropout", "tasks", "precision"],
)
def test_mistakes_end_with_code_2_and_name_the_cause(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = run(*arguments, "--dry-run")
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_dry_run_prints_the_configuration_and_starts_nothing(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    directory = ("--run.directory", str(tmp_path / "runs"))
    code, out, _ = run("stickers_tasks", "--model.path", str(tiny_folder), *directory, "--dry-run")
    assert code == 0
    printed, plan = out.split("\n\n", maxsplit=1)
    config = FinetuneConfig.model_validate(json.loads(printed))
    assert config.model.path == str(tiny_folder)
    assert "generate, edit, inpaint" in plan
    assert "encode stickers" in plan
    assert not (tmp_path / "runs").exists()


def test_a_model_on_the_hub_needs_no_network_for_a_dry_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.txt").write_text("a cat")
    code, out, _ = run("sd3_medium_tasks", "--data.source", str(tmp_path), "--dry-run")
    assert code == 0
    assert "8 x gpu" in out


def test_a_run_gets_the_configuration_of_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[FinetuneConfig] = []

    class Folder:
        path = "/somewhere"

    monkeypatch.setattr("ladd_ray.training.finetuning.launch.run", lambda config: started.append(config) or Folder())
    code, out, _ = run("stickers_tasks", "--optimizer.lr", "2e-4", "--data.buckets", "64", "64", "32", "96")
    assert (code, out) == (0, "results in /somewhere\n")
    assert started[0].optimizer.lr == 2e-4
    assert started[0].data.buckets == ((64, 64), (32, 96))


def test_the_embedded_model_is_still_made_from_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[PretrainConfig] = []
    monkeypatch.setattr("ladd_ray.training.pretraining.run.pretrain", started.append)
    code, _, _ = run("stickers", "--stages", "text", "--threads", "1", "--text.steps", "5")
    assert code == 0
    assert (started[0].stages, started[0].threads, started[0].text.steps) == (("text",), 1, 5)
    code, out, _ = run("stickers", "--dry-run")
    assert code == 0
    assert PretrainConfig.model_validate(json.loads(out)) == PretrainConfig()
