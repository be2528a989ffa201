"""Models by name, in a real registry: a folder goes in as a version, and comes out as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ladd_ray.models.folder import fingerprint
from ladd_ray.registry import Reference, Registry, Version
from tests.inference.models import export_tiny


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}")


@pytest.fixture(scope="module")
def run_id(client: MlflowClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("artifacts").as_uri()
    return client.create_run(client.create_experiment("e", artifact_location=place)).info.run_id


@pytest.fixture
def registry(client: MlflowClient, tmp_path: Path) -> Registry:
    return Registry.existing(client.tracking_uri, cache=tmp_path / "cache")


@pytest.fixture(scope="module")
def students(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two that differ."""
    root = tmp_path_factory.mktemp("students")
    return export_tiny(tiny_folder, root / "student"), export_tiny(tiny_folder, root / "many", student=False)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_version_is_the_folder_that_was_registered(
    registry: Registry, run_id: str, students: tuple[Path, Path]
) -> None:
    version = registry.register(
        students[0], name="whole", run_id=lambda: run_id, tags={"recipe": "tiny"}, alias="champion"
    )
    assert (version.number, version.uri) == ("1", "models:/whole/1")
    found = registry.find(Reference.parse("models:/whole@champion"))
    assert found == version == registry.find(Reference.parse("models:/whole/1"))
    assert registry.remember(Reference.parse("models:/whole@champion")) == version
    fetched = registry.fetch(found)
    assert files_of(fetched) == files_of(students[0])
    assert registry.fetch(found) == fetched


def test_registering_again_only_moves_the_alias(
    registry: Registry, client: MlflowClient, run_id: str, students: tuple[Path, Path]
) -> None:
    first, second = (
        registry.register(each, name="moving", run_id=lambda: run_id, tags={}, alias="a") for each in students
    )
    assert (first.number, second.number) == ("1", "2")
    assert registry.find(Reference.parse("models:/moving@a")) == second
    assert registry.register(students[0], name="moving", run_id=lambda: run_id, tags={}, alias="a") == first
    assert registry.find(Reference.parse("models:/moving@a")) == first
    assert registry.find(Reference.parse("models:/moving@latest")) == second
    assert len(client.search_model_versions("name='moving'")) == 2


def test_tags_say_where_a_version_comes_from(
    registry: Registry, client: MlflowClient, run_id: str, students: tuple[Path, Path]
) -> None:
    registry.register(students[0], name="tagged", run_id=lambda: run_id, tags={"recipe": "tiny"})
    found = client.get_model_version("tagged", "1")
    assert found.run_id == run_id
    assert found.tags == {"recipe": "tiny", "fingerprint": fingerprint(students[0])}


def test_files_that_were_changed_since_are_refused(
    registry: Registry, run_id: str, students: tuple[Path, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(students[0], copy)
    (copy / "transformer" / "config.json").write_text('{"_": 1}')
    version = registry.register(copy, name="damaged", run_id=lambda: run_id, tags={})
    weights = next(Path(version.source.removeprefix("file://")).glob("transformer/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="register the model again"):
        registry.fetch(version)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/a/3", Reference("a", version="3")),
        ("models:/a b@champion", Reference("a b", alias="champion")),
    ],
)
def test_references_are_read_and_written(uri: str, expected: Reference) -> None:
    assert Reference.parse(uri) == expected
    assert str(expected) == uri
    assert expected.moves == ("@" in uri)


@pytest.mark.parametrize("uri", ["models:/a", "models:/a/b", "models:/a/0", "models:a@b", "models:/a@b/c", "a@b", ""])
def test_other_references_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="NAME@ALIAS"):
        Reference.parse(uri)


@pytest.mark.parametrize("uri", ["models:/nobody@a", "models:/nobody/1"])
def test_what_is_not_there_is_a_mistake(registry: Registry, uri: str) -> None:
    with pytest.raises(ValueError, match="knows no models:/nobody"):
        registry.find(Reference.parse(uri))


def test_a_registry_that_does_not_answer_is_no_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry.existing("http://127.0.0.1:9", cache=tmp_path)
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9 does not give models:/a@b"):
        registry.find(Reference.parse("models:/a@b"))
    assert registry.remember(Reference.parse("models:/a@b")) is None
    with pytest.raises(ConnectionError):
        registry.fetch(Version("a", "1", "http://127.0.0.1:9/a", 0))


def test_what_was_noted_stays_when_the_disk_is_full(
    registry: Registry, run_id: str, students: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Reference.parse("models:/noted@a")
    version = registry.register(students[0], name="noted", run_id=lambda: run_id, tags={}, alias="a")
    assert registry.find(reference) == version
    write_text = Path.write_text

    def fill_the_disk(file: Path, text: str) -> None:
        write_text(file, text[:9])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        registry.find(reference)
    assert registry.remember(reference) == version


def test_reading_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no MLflow database"):
        Registry.existing(f"sqlite:///{tmp_path / 'mlflow.db'}", cache=tmp_path)
    assert not list(tmp_path.iterdir())
