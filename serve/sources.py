"""Where a model comes from: a folder, the hub, or MLflow's registry, where an alias may move on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ladd_ray.models.folder import is_hub_name, require_sd3, scheduler_config
from ladd_ray.registry import SCHEME, Reference, Registry, Version

from .settings import EndpointSettings, ModelSettings, RegistrySettings

logger = logging.getLogger("ray.serve")


def checked(settings: EndpointSettings) -> EndpointSettings:
    """The settings with absolute places, since replicas work in other folders.

    Raises:
        ValueError: a model is not there, or not of the Stable Diffusion 3 family.
        ConnectionError: the registry does not answer.
    """
    registry = settings.registry.model_copy(update={"uri": _registry_uri(settings.registry)})
    models = tuple(_checked(model, registry) for model in settings.all_models)
    return settings.model_copy(update={"model": None, "models": models, "registry": registry})


def _checked(model: ModelSettings, registry: RegistrySettings) -> ModelSettings:
    if model.path is None:
        return model
    if model.path.startswith(SCHEME):
        ModelSource(model.path, registry).find()
        return model
    require_sd3(model.path)
    if not is_hub_name(model.path):
        return model.model_copy(update={"path": str(Path(model.path).expanduser().resolve())})
    try:
        scheduler_config(model.path)
    except OSError as error:
        raise ValueError(f"{model.path} is no folder here, and the hub does not give it: {error}") from error
    return model


def _registry_uri(registry: RegistrySettings) -> str:
    return registry.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('runs/mlflow.db').resolve()}"


class ModelSource:
    """The place of one model."""

    def __init__(self, path: str | None, registry: RegistrySettings) -> None:
        """As ``checked`` left them."""
        self._path = path
        self._reference = Reference.parse(path) if path is not None and path.startswith(SCHEME) else None
        self._settings = registry

    @property
    def moves(self) -> bool:
        """Whether it may hold another version tomorrow."""
        return self._reference is not None and self._reference.moves

    def find(self) -> Version | None:
        """The version that is to be served now; None of what has no versions.

        Raises:
            ValueError: there is none.
            ConnectionError: the registry does not answer.
        """
        return None if self._reference is None else self._registry().find(self._reference)

    def find_or_remember(self) -> Version | None:
        """As ``find``; of a registry that does not answer, the version that was served last.

        Raises:
            ValueError: there is none.
            ConnectionError: the registry does not answer, and never did.
        """
        try:
            return self.find()
        except ConnectionError as error:
            known = None if self._reference is None else self._registry().remember(self._reference)
            if known is None:
                raise
            logger.warning("%s is served as before, since %s", known.uri, error)
            return known

    def path_of(self, version: Version | None) -> str | None:
        """What to load for it, fetched if need be; may take minutes.

        Raises:
            ValueError: its files are damaged.
            ConnectionError: the registry does not answer.
        """
        return self._path if version is None else str(self._registry().fetch(version))

    def _registry(self) -> Registry:
        assert self._settings.uri is not None, "checked settings name the registry"
        return Registry.existing(self._settings.uri, cache=self._settings.cache)
