"""Models by name: versions in MLflow's registry, each a whole folder, and aliases that say which one is in use.

models:/stickers/3          a version
models:/stickers@champion   whichever version the alias names now; @latest names the newest
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from filelock import FileLock

from ladd_ray.models.folder import fingerprint
from ladd_ray.tracking import open_client

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

SCHEME: Final = "models:/"
FINGERPRINT: Final = "fingerprint"
"""Tag of a version: what its folder's fingerprint must be."""
CACHE: Final = Path("~/.cache/ladd_ray/models")
"""Where fetched versions lie unless told otherwise."""

_REFERENCE: Final = re.compile(rf"{SCHEME}(?P<name>[^/@:]+)(?:@(?P<alias>[\w.-]+)|/(?P<version>[1-9]\d*))")
_DATABASE: Final = "sqlite:///"
_FILE_TIMEOUT_S: Final = 600
_UNKNOWN: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says of names, aliases and versions that are not there."""


@dataclass(frozen=True)
class Reference:
    """A version, or the alias of one."""

    name: str
    alias: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, uri: str) -> Self:
        """From ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

        Raises:
            ValueError: it is neither.
        """
        found = _REFERENCE.fullmatch(uri)
        if found is None:
            raise ValueError(f"{uri!r} names no registered model: write {SCHEME}NAME/VERSION or {SCHEME}NAME@ALIAS")
        return cls(**found.groupdict())

    @property
    def moves(self) -> bool:
        """Whether it may name another version tomorrow."""
        return self.alias is not None

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}@{self.alias}" if self.alias else f"{SCHEME}{self.name}/{self.version}"


@dataclass(frozen=True)
class Version:
    """One version of a registered model; what it holds never changes."""

    name: str
    number: str
    source: str
    """Where MLflow keeps its files."""
    created: int
    """In milliseconds since 1970: tells it from a version of that number in an earlier registry."""
    fingerprint: str | None = None
    """Of its folder; None of a version that others registered."""

    @property
    def uri(self) -> str:
        """Names exactly this version."""
        return f"{SCHEME}{self.name}/{self.number}"


class Registry:
    """MLflow's registry behind one tracking server or database."""

    def __init__(self, uri: str, *, cache: Path = CACHE) -> None:
        """Connect.

        Args:
            uri: of the tracking server, or ``sqlite:////absolute/path`` of its database.
            cache: folder for what is fetched.
        """
        self.uri = uri
        self.cache = cache.expanduser()
        self.client = open_client(uri)

    @classmethod
    def existing(cls, uri: str, *, cache: Path = CACHE) -> Self:
        """One to read from, which makes no database.

        Raises:
            ValueError: there is none.
        """
        if uri.startswith(_DATABASE) and not Path(uri.removeprefix(_DATABASE)).is_file():
            raise ValueError(f"there is no MLflow database at {uri}: give the address that models were registered at")
        return cls(uri, cache=cache)

    def find(self, reference: Reference) -> Version:
        """The version that a reference names now.

        Raises:
            ValueError: it names none.
            ConnectionError: the registry does not answer.
            OSError: the cache cannot be written.
        """
        with self.asking(str(reference)):
            if reference.alias is not None:
                found = self.client.get_model_version_by_alias(reference.name, reference.alias)
            else:
                found = self.client.get_model_version(reference.name, str(reference.version))
        version = _version(found)
        self._write_down(version, self._note(reference))
        return version

    def remember(self, reference: Reference) -> Version | None:
        """The version that a reference named when ``find`` last heard of it here; None of a new one."""
        note = self._note(reference)
        return Version(**json.loads(note.read_text())) if note.is_file() else None

    def fetch(self, version: Version) -> Path:
        """The folder of a version, copied here when it is first asked for.

        Raises:
            ValueError: what came is not what was registered.
            ConnectionError: the registry, or where it keeps files, does not answer.
        """
        key = hashlib.sha256(f"{version.source} {version.created}".encode()).hexdigest()[:8]
        folder = self.cache / f"{version.name}-{version.number}-{key}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Replicas of one machine start together, and want it once.
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                self._download(version, folder)
        return folder

    def knows_run(self, run_id: str) -> bool:
        """Whether a run is tracked here.

        Raises:
            ConnectionError: MLflow does not answer.
        """
        try:
            with self.asking(f"run {run_id}"):
                self.client.get_run(run_id)
        except ValueError:
            return False
        return True

    def register(
        self,
        folder: Path,
        *,
        name: str,
        run_id: Callable[[], str],
        tags: Mapping[str, str],
        alias: str | None = None,
    ) -> Version:
        """Keep a folder as the newest version of a model; one that is there already is only given the alias.

        Args:
            folder: of a whole pipeline.
            name: of the model, which is made if need be.
            run_id: gives the MLflow run that keeps the files; asked only where they are not kept yet.
            tags: of the version.
            alias: moved to it.

        Raises:
            ConnectionError: MLflow does not answer.
        """
        tags = {**tags, FINGERPRINT: fingerprint(folder)}
        with self.asking(f"{SCHEME}{name}"):
            version = self._find_equal(name, tags[FINGERPRINT])
            version = version or self._add(folder, name=name, run_id=run_id(), tags=tags)
            if alias is not None:
                self.client.set_registered_model_alias(name, alias, version.number)
        return version

    def _note(self, reference: Reference) -> Path:
        return self.cache / f"{str(reference).removeprefix(SCHEME).replace('/', '-')}.json"

    def _write_down(self, version: Version, note: Path) -> None:
        """Other replicas read it meanwhile, and on a full disk the old one stays."""
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_name(f"{note.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(version)))
        partial.replace(note)

    def _find_equal(self, name: str, wanted: str) -> Version | None:
        self._ensure_model(name)
        versions = map(_version, self.client.search_model_versions(f"name='{name}'"))
        return next((version for version in versions if version.fingerprint == wanted), None)

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _add(self, folder: Path, *, name: str, run_id: str, tags: Mapping[str, str]) -> Version:
        place = f"model-{tags[FINGERPRINT]}"
        with _time_for_files():
            self.client.log_artifacts(run_id, str(folder), artifact_path=place)
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{place}"
        return _version(self.client.create_model_version(name, source, run_id=run_id, tags=dict(tags)))

    def _download(self, version: Version, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with self.asking(version.uri), _time_for_files():
            source = self.client.get_model_version_download_uri(version.name, version.number)
            found = Path(download_artifacts(source, dst_path=str(partial), tracking_uri=self.uri))
        _require_same(found, version)
        found.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)

    @contextmanager
    def asking(self, subject: str) -> Iterator[None]:
        """Turns what MLflow raises into what is raised here.

        Raises:
            ValueError: there is no such subject.
            ConnectionError: anything else went wrong.
        """
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            if isinstance(error, MlflowException) and error.error_code in _UNKNOWN:
                raise ValueError(f"the registry at {self.uri} knows no {subject}: {reason}") from error
            raise ConnectionError(f"the registry at {self.uri} does not give {subject}: {reason}") from error


def _version(found: MlflowVersion) -> Version:
    created = int(found.creation_timestamp)
    return Version(found.name, str(found.version), str(found.source), created, found.tags.get(FINGERPRINT))


def _require_same(folder: Path, version: Version) -> None:
    if version.fingerprint is not None and fingerprint(folder) != version.fingerprint:
        raise ValueError(f"the files of {version.uri} are not those that were registered: register the model again")


@contextmanager
def _time_for_files() -> Iterator[None]:
    """MLflow knows one timeout for questions and for files of gigabytes; it reads it at every request."""
    names = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    before = {name: os.environ[name] for name in names}
    os.environ.update(zip(names, (str(_FILE_TIMEOUT_S), "3"), strict=True))
    try:
        yield
    finally:
        os.environ.update(before)
