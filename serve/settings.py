"""What can be set about an endpoint; `serve/config.yaml` shows all of it but for the short form of a single model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ladd_ray.config import Precision
from ladd_ray.registry import CACHE, SCHEME, Reference

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Source = Annotated[str, BeforeValidator(lambda path: str(path) if isinstance(path, Path) else path)]
"""Where a model comes from."""


class Settings(BaseModel):
    """Base: frozen, and a wrong name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Settings):
    """One model."""

    name: Name
    path: Source | None = None
    """A folder, of a student's export or any other of the Stable Diffusion 3 family; a hub name
    ("organisation/model"); or models:/NAME/VERSION and models:/NAME@ALIAS of MLflow's registry. Whoever serves an alias
    rolls over to another version as soon as the alias moves. Without one, the embedded student."""
    precision: Precision | None = None
    """By default bf16 on a GPU and fp32 on a CPU."""
    steps: Annotated[int, Field(ge=1, le=50)] | None = None
    """Where a request says nothing; by default all that a student was trained for."""
    bit_equal: bool = True
    """On a CPU, whether a picture is the same to the last bit alone and in any batch; see
    ``ladd_ray.models.independent_rows``. Otherwise one value in some thousands differs, by 1 of 255."""
    num_replicas: Annotated[int, Field(ge=1)] = 1
    """At least so many, each with the whole model."""
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    """With more than ``num_replicas``, Ray Serve adds some while the replicas have more to do than they share steps
    of, and takes them away again; by default their number is fixed."""
    target_requests: Annotated[float, Field(gt=0)] | None = None
    """Under way in each replica, on average, when more replicas are wanted; by default ``batch.max_rows``."""
    num_cpus: Annotated[float, Field(gt=0)] = 1.0
    """For each replica."""
    num_gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """For each replica; with none, it draws on the CPU. Several share a GPU with 0.5 or less each, and have to fit into
    its memory together."""
    compile: bool = True
    """On a GPU, whether the network's blocks are compiled, which makes the start longer and every step shorter."""

    @property
    def uses_gpu(self) -> bool:
        """Whether it draws on a GPU."""
        return self.num_gpus > 0

    @model_validator(mode="after")
    def _has_room_for_replicas(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.num_replicas:
            raise ValueError(f"{self.name} has num_replicas = {self.num_replicas}: raise max_replicas to at least that")
        return self


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


class RegistrySettings(Settings):
    """MLflow's registry, for models whose path begins with models:/."""

    uri: str | None = None
    """Server or database; by default MLFLOW_TRACKING_URI, or runs/mlflow.db. Other machines can only reach a server."""
    cache: Path = CACHE
    """Folder for what is fetched from it, which nothing ever empties."""
    poll_s: Annotated[float, Field(ge=0)] = 10.0
    """Seconds between two looks at where an alias points; 0 looks only when a replica starts."""


class EndpointSettings(Settings):
    """Everything; the argument of ``serve.app:build``."""

    model: Source | None = None
    """A single model, named after its run; the short form of ``models``."""
    num_gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of that single model."""
    models: tuple[ModelSettings, ...] = ()
    """The first is the one that requests without a model get."""
    batch: BatchSettings = BatchSettings()
    limits: Limits = Limits()
    registry: RegistrySettings = RegistrySettings()
    api_keys_file: Path | None = None
    """Bearer tokens, one a line; more of them may come in LADD_RAY_API_KEYS, separated by commas."""
    keys_required: bool = False
    """Whether it is an error that there are no keys; otherwise /v1 and the page are then open to everybody."""
    gateways: Annotated[int, Field(ge=1)] = 1
    """Replicas of the HTTP side, which packs and unpacks the files."""
    page: bool = True
    """Whether there is a web page at /, which needs the extra "page" (Gradio)."""

    @model_validator(mode="after")
    def _one_way_to_name_models(self) -> Self:
        if self.model is not None and self.models:
            raise ValueError("give model or models, not both")
        if self.num_gpus and self.models:
            raise ValueError("num_gpus beside models has no effect: give it to each of the models")
        names = [model.name for model in self.all_models]
        if len(set(names)) != len(names) or "default" in names:
            raise ValueError(f"models need names of their own, other than 'default': {names}")
        return self

    @model_validator(mode="after")
    def _page_in_one_place(self) -> Self:
        if self.page and self.gateways > 1:
            raise ValueError("the page keeps its visitors in one gateway: set page to false, or gateways to 1")
        return self

    @property
    def all_models(self) -> tuple[ModelSettings, ...]:
        """At least one."""
        return self.models or (ModelSettings(name=_name_of(self.model), path=self.model, num_gpus=self.num_gpus),)


def _name_of(source: str | None) -> str:
    """An export lies in the folder of its run, after which it is named."""
    if source is None:
        return "stickers-turbo"
    if source.startswith(SCHEME):
        return Reference.parse(source).name
    path = Path(source).expanduser().resolve()
    return path.parent.name if path.name in ("export", "pipeline") else path.name
