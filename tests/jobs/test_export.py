"""The command line of the export: what it explains and refuses, and what it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jobs import export
from ladd_ray.training.run_folder import RunFolder, claim
from tests.inference.models import export_tiny
from tests.training.runs import TEACHER, tiny_config

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The job in this process: exit code, standard output, standard error."""

    def job(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["export.py", *map(str, arguments)])
        try:
            code = export.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return job


@pytest.fixture
def finished(tiny_folder: Path, tmp_path: Path) -> RunFolder:
    folder = claim(tiny_config(tiny_folder, tmp_path / "runs"), teacher=TEACHER)
    export_tiny(tiny_folder, folder.export)
    return folder


def test_help_shows_how_to_register(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "--register-as stickers --alias champion" in out


def test_a_model_is_copied_and_registered(run: Run, finished: RunFolder, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    names = ("--register-as", "tiny", "--alias", "champion", "--tracking-uri", uri)
    code, out, _ = run(finished.path, "--output", tmp_path / "copy", *names)
    assert code == 0
    assert f"model in {tmp_path / 'copy'}" in out
    assert int(MlflowClient(uri).get_model_version_by_alias("tiny", "champion").version) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--alias", "champion"), "set tracking.register_as too"),
        (("--register-as", "tiny", "--alias", "Latest"), "choose another one"),
        (("--register-as", "a/b"), "register_as"),
        (("--output", "."), "exists: choose another folder"),
    ],
)
def test_mistakes_are_explained(run: Run, finished: RunFolder, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(finished.path, *arguments)
    assert code == 2
    assert message in err


def test_a_folder_without_a_run_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run(tmp_path)
    assert code == 2
    assert "is no run and no checkpoint" in err
