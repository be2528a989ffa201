"""A finished model goes into MLflow's registry, when the configuration asks for it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ladd_ray.config import JobConfig
from ladd_ray.registry import Registry, Version
from ladd_ray.tracking import RUN_ID_NAME, create_run, mlflow_uri

logger = logging.getLogger(__name__)


def register_model(config: JobConfig, model: Path) -> Version | None:
    """Make a pipeline folder the newest version of ``tracking.register_as``, and move ``tracking.alias`` to it.

    A folder that is registered already only gets the alias.

    Args:
        config: of the run that made it.
        model: the folder.

    Returns:
        The version; None where nothing was asked for.

    Raises:
        ValueError: MLflow does not answer.
    """
    settings = config.tracking
    if settings.register_as is None:
        return None
    registry = Registry(mlflow_uri(config))
    try:
        version = registry.register(
            model,
            name=settings.register_as,
            run_id=lambda: _mlflow_run(config, registry),
            tags=_tags(config, model),
            alias=settings.alias,
        )
    except ConnectionError as error:
        raise ValueError(
            f"{model} is done, but not registered: {error}. Run the same command again, it only registers"
        ) from error
    names = version.uri if settings.alias is None else f"{version.uri}, which is now @{settings.alias}"
    logger.info("registered %s as %s", model, names)
    return version


def _mlflow_run(config: JobConfig, registry: Registry) -> str:
    """The run that keeps the files: the one that was tracked, or a new one where that was elsewhere."""
    note = config.run.path / RUN_ID_NAME
    if note.is_file() and registry.knows_run(tracked := note.read_text()):
        return tracked
    run_id = create_run(registry.client, config)
    registry.client.set_terminated(run_id)
    return run_id


def _tags(config: JobConfig, model: Path) -> dict[str, str]:
    """How the model was made."""
    made = json.loads((model / "ladd.json").read_text())
    return {"recipe": config.recipe, "run": config.run.name, **{name: str(value) for name, value in made.items()}}
