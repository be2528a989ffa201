"""What can be set about an endpoint; `serve/config.yaml` shows all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ladd_ray.config import Precision

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Settings(BaseModel):
    """Base: frozen, and a wrong name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Settings):
    """One model."""

    name: Name
    path: Path | None = None
    """Its folder, a student's export; without one, the embedded model of many steps."""
    precision: Precision | None = None
    """By default bf16 on a GPU and fp32 on a CPU."""
    steps: Annotated[int, Field(ge=1, le=50)] | None = None
    """Where a request says nothing; by default all that a student was trained for."""
    bit_equal: bool = True
    """On a CPU, whether a picture is the same to the last bit alone and in any batch; see
    ``ladd_ray.models.independent_rows``. Otherwise one value in some thousands differs, by 1 of 255."""
    num_replicas: Annotated[int, Field(ge=1)] = 1
    num_cpus: Annotated[float, Field(gt=0)] = 1.0
    """For each replica."""
    num_gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """For each replica; with none, it draws on the CPU."""

    @property
    def uses_gpu(self) -> bool:
        """Whether it draws on a GPU."""
        return self.num_gpus > 0


class BatchSettings(Settings):
    """How a replica shares a step among requests; see ``ladd_ray.inference.scheduling``."""

    max_rows: Annotated[int, Field(ge=1)] = 16
    max_pixels: Annotated[int, Field(ge=1)] = 16 * 1024 * 1024
    patience_s: Annotated[float, Field(ge=0)] = 0.5
    max_backlog_s: Annotated[float, Field(gt=0)] = 30.0
    """Predicted seconds of work that a replica takes on; beyond, requests are answered 429."""
    prompt_cache_size: Annotated[int, Field(ge=0)] = 256


class Limits(Settings):
    """What a request may ask for."""

    max_pixels: Annotated[int, Field(ge=1)] = 2 * 1024 * 1024
    """Of one picture, drawn or uploaded."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    max_requests: Annotated[int, Field(ge=1)] = 256
    """At once in one gateway."""
    max_deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """Until a request is given up; the header x-deadline-seconds may ask for less."""


class EndpointSettings(Settings):
    """Everything; the argument of ``serve.app:build``."""

    model: Path | None = None
    """A single model, named after its run; the short form of ``models``."""
    num_gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of that single model."""
    models: tuple[ModelSettings, ...] = ()
    """The first is the one that requests without a model get."""
    batch: BatchSettings = BatchSettings()
    limits: Limits = Limits()
    api_keys_file: Path | None = None
    """Bearer tokens, one a line; more of them may come in LADD_RAY_API_KEYS, separated by commas."""
    gateways: Annotated[int, Field(ge=1)] = 1
    """Replicas of the HTTP side, which packs and unpacks the files."""

    @model_validator(mode="after")
    def _one_way_to_name_models(self) -> Self:
        if self.model is not None and self.models:
            raise ValueError("give model or models, not both")
        names = [model.name for model in self.all_models]
        if len(set(names)) != len(names) or "default" in names:
            raise ValueError(f"models need names of their own, other than 'default': {names}")
        return self

    @property
    def all_models(self) -> tuple[ModelSettings, ...]:
        """At least one."""
        return self.models or (ModelSettings(name=_name_of(self.model), path=self.model, num_gpus=self.num_gpus),)


def _name_of(folder: Path | None) -> str:
    """An export lies in the folder of its run, after which it is named."""
    if folder is None:
        return "sd3-stickers"
    path = folder.expanduser().resolve()
    return path.parent.name if path.name == "export" else path.name
