"""Everything that can be known before a cluster starts: paths, shapes, the owner of the name, the plan."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladd_ray.config import Config, RunConfig, override
from ladd_ray.data.prompts import prompts_fingerprint, read_prompts
from ladd_ray.data.provenance import require_same
from ladd_ray.data.sources import list_shards, reading_fingerprint
from ladd_ray.data.task_rows import DrawnProvenance
from ladd_ray.data.task_world import world_fingerprint
from ladd_ray.data_sections import EMBEDDED, EMBEDDED_STUDENT, DataConfig, Range
from ladd_ray.models.embedded import committed_model, committed_student
from ladd_ray.models.folder import (
    encoders_fingerprint,
    fingerprint,
    has_three_tasks,
    is_hub_name,
    largest_side,
    shape_config,
)
from ladd_ray.models.pixel_features import absolute_features
from ladd_ray.tracking import flatten
from ladd_ray.training.sampler import teacher_shift


@dataclass(frozen=True)
class Plan:
    """A checked run: what the workers get."""

    config: Config
    """With absolute paths."""
    teacher: str
    """Fingerprint of the teacher."""
    provenance: DrawnProvenance
    """Of the rows that the run trains on."""
    latents: Path
    """Their folder, which may not exist yet."""

    def describe(self) -> str:
        """What would run, for people."""
        config = self.config
        where = f"{config.run.num_workers} x {config.run.device}" if config.run.num_workers else "this process"
        return "\n".join(
            [
                f"run       {config.run_directory}",
                f"teacher   {config.teacher.path} ({self.teacher})",
                f"latents   {self._latents()}",
                f"training  {config.run.steps} steps of {config.run.global_batch_size} "
                f"({config.micro_batch_size} per worker and micro batch) on {where}",
                f"export    {config.run_directory / 'export'}",
            ]
        )

    def _latents(self) -> str:
        data, facts = self.config.data, self.provenance
        how = f"at guidance {facts.guidance_scale}, {facts.num_inference_steps} steps"
        if data.feed == "online":
            return f"drawn while training by {data.online_teachers} teachers {how}"
        files = f" and the pictures of {data.source}" if data.reads_files else ""
        return f"{'reuse' if self.latents.is_dir() else 'draw'} {data.num_latents}{files} {how}: {self.latents}"


def prepare(config: Config, *, fetch: bool = True) -> Plan:
    """Check the whole configuration against the world.

    Args:
        config: as the user gave it.
        fetch: a teacher on the hub is downloaded, since its weights name the latents; without it, its name stands in.

    Raises:
        ValueError: with the fix in the message.
    """
    config = _with_absolute_paths(config)
    at_hand = fetch or not is_hub_name(config.teacher.path)
    # First, because it fetches what only has a name, and says so when it cannot.
    teacher = fingerprint(config.teacher.path) if at_hand else config.teacher.path
    if at_hand:
        _check_transformer(config)
    read_prompts(config.data.heldout_prompts, 1, split="heldout", seed=config.evaluation.seed)
    provenance = _provenance(config, teacher=teacher, at_hand=at_hand)
    return Plan(config, teacher, provenance, _latents_folder(config, provenance))


def _provenance(config: Config, *, teacher: str, at_hand: bool) -> DrawnProvenance:
    data = config.data
    return DrawnProvenance(
        teacher=teacher,
        encoders=encoders_fingerprint(config.teacher.path) if at_hand else teacher,
        prompts=_prompts(data),
        pictures=_pictures(data),
        tasks=", ".join(f"{name} {share:g}" for name, share in data.tasks.model_dump().items()),
        origin=data.origin,
        num_latents=data.num_latents,
        guidance_scale=_range(data.text_guidance),
        image_guidance_scale=_range(data.image_guidance) if data.tasks.edit else "",
        num_inference_steps=data.num_inference_steps,
        shift=teacher_shift(config) if at_hand else data.shift or 1.0,
        sizes=", ".join(f"{height}x{width}" for height, width in data.sizes),
        seed=data.seed,
        precision=config.teacher.precision,
        store_prompt_embeds=data.store_prompt_embeds,
    )


def _prompts(data: DataConfig) -> str:
    """A fingerprint, after a look at the file."""
    if not data.draws_prompts:
        return ""
    return prompts_fingerprint(read_prompts(data.prompts, data.num_latents, split="train", seed=data.seed))


def _pictures(data: DataConfig) -> str:
    """A fingerprint, after a look at the files."""
    if data.reads_files:
        list_shards(data.pictures)
        return reading_fingerprint(data.pictures)
    shows_world = not data.generates_only or data.origin == "real"
    return f"{EMBEDDED} {world_fingerprint(data.pictures)}" if shows_world else ""


def _range(bounds: Range) -> str:
    low, high = bounds
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _with_absolute_paths(config: Config) -> Config:
    """Workers run in other directories, so the driver resolves every path."""
    changes = {"run.directory": absolute_directory(config.run), "teacher.path": absolute_model(config.teacher.path)}
    for name in ("prompts", "heldout_prompts"):
        source = getattr(config.data, name)
        if source != EMBEDDED:
            changes[f"data.{name}"] = str(Path(source).expanduser().resolve())
    if config.data.source != EMBEDDED:
        # Not resolved: it may be a pattern.
        changes["data.source"] = str(Path(config.data.source).expanduser().absolute())
    if config.method == "add":
        changes["add.features"] = absolute_features(config.add.features)
    if config.data.latents is not None:
        changes["data.latents"] = str(Path(config.data.latents).expanduser().resolve())
    return override(config, changes)


def lasting_settings(config: Config) -> dict[str, Any]:
    """Every setting by its dotted name, equal for equal runs, from wherever they start.

    Paths are absolute, but committed models go by their names: a submitted job has a copy of them elsewhere.

    Raises:
        ValueError: a path is wrong; the message says what to do.
    """
    config = _with_absolute_paths(config)
    return flatten(config.model_dump(mode="json")) | {"teacher.path": _lasting_name(config.teacher.path)}


def _lasting_name(model: str) -> str:
    for name in (EMBEDDED, EMBEDDED_STUDENT):
        # The package may have come without it.
        with suppress(ValueError):
            if model == absolute_model(name):
                return name
    return model


def absolute_directory(run: RunConfig) -> str:
    """Folder of all runs, whatever directory a worker runs in."""
    return str(_base_directory() / Path(run.directory).expanduser())


def absolute_model(path: str) -> str:
    """A model's folder, whatever directory a worker runs in; a hub name stays one."""
    if path == EMBEDDED:
        return str(committed_model())
    if path == EMBEDDED_STUDENT:
        return str(committed_student())
    return path if is_hub_name(path) else str(Path(path).expanduser().resolve())


def _base_directory() -> Path:
    """A submitted job runs in a copy of the code that Ray deletes: results must not stay there."""
    home = os.environ.get("LADD_RAY_HOME")
    if home:
        return Path(home).expanduser().resolve()
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    return Path.home() / "ladd_ray" if submitted else Path.cwd()


def _check_transformer(config: Config) -> None:
    shape = shape_config(config.teacher.path)
    blocks = config.discriminator.tapped_blocks or (0,)
    if blocks[-1] >= shape["num_layers"]:
        raise ValueError(
            f"discriminator.tapped_blocks = {blocks} goes beyond the teacher's {shape['num_layers']} blocks: "
            f"use 0..{shape['num_layers'] - 1}"
        )
    data, largest = config.data, largest_side(config.teacher.path)
    if max(data.height, data.width, *(side for size in data.sizes for side in size)) > largest:
        raise ValueError(
            f"data.height, data.width and data.buckets must not exceed {largest}, the teacher's largest side"
        )
    if not data.generates_only and not has_three_tasks(config.teacher.path):
        raise ValueError(
            f"{config.teacher.path} only generates: set data.tasks.edit and data.tasks.inpaint to 0, or train it for "
            "three tasks first (jobs/pretrain.py)"
        )


def _latents_folder(config: Config, provenance: DrawnProvenance) -> Path:
    if config.data.latents is None:
        return Path(config.run.directory) / "latents" / provenance.key
    folder = Path(config.data.latents)
    require_same(folder, provenance, setting="data.latents")
    return folder
