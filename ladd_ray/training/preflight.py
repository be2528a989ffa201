"""Everything that can be known before a cluster starts: paths, shapes, the owner of the name, the plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ladd_ray.config import Config, RunConfig, override
from ladd_ray.data.latents import Provenance
from ladd_ray.data.prompts import prompts_fingerprint, read_prompts
from ladd_ray.data.provenance import require_same
from ladd_ray.models.embedded import committed_model
from ladd_ray.models.folder import fingerprint, is_hub_name, largest_side, scheduler_shift, shape_config

EMBEDDED = "stickers"


@dataclass(frozen=True)
class Plan:
    """A checked run: what the workers get."""

    config: Config
    """With absolute paths."""
    teacher: str
    """Fingerprint of the teacher."""
    provenance: Provenance
    """Of the latents that the run trains on."""
    latents: Path
    """Their folder, which may not exist yet."""

    def describe(self) -> str:
        """What would run, for people."""
        config = self.config
        state = "reuse" if self.latents.is_dir() else "draw"
        where = f"{config.run.num_workers} x {config.run.device}" if config.run.num_workers else "this process"
        return "\n".join(
            [
                f"run       {config.run_directory}",
                f"teacher   {config.teacher.path} ({self.teacher})",
                f"latents   {state} {config.data.num_latents} at guidance {config.data.guidance_scale:g}, "
                f"{config.data.num_inference_steps} steps: {self.latents}",
                f"training  {config.run.steps} steps of {config.run.global_batch_size} "
                f"({config.micro_batch_size} per worker and micro batch) on {where}",
                f"export    {config.run_directory / 'export'}",
            ]
        )


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
    prompts = read_prompts(config.data.prompts, config.data.num_latents, split="train", seed=config.data.seed)
    read_prompts(config.data.heldout_prompts, 1, split="heldout", seed=config.evaluation.seed)
    provenance = Provenance(
        teacher=teacher,
        prompts=prompts_fingerprint(prompts),
        num_latents=config.data.num_latents,
        guidance_scale=config.data.guidance_scale,
        num_inference_steps=config.data.num_inference_steps,
        shift=config.data.shift or (scheduler_shift(config.teacher.path) if at_hand else 1.0),
        height=config.data.height,
        width=config.data.width,
        seed=config.data.seed,
        precision=config.teacher.precision,
    )
    return Plan(config, teacher, provenance, _latents_folder(config, provenance))


def _with_absolute_paths(config: Config) -> Config:
    """Workers run in other directories, so the driver resolves every path."""
    changes = {"run.directory": absolute_directory(config.run), "teacher.path": absolute_model(config.teacher.path)}
    for name in ("prompts", "heldout_prompts"):
        source = getattr(config.data, name)
        if source != EMBEDDED:
            changes[f"data.{name}"] = str(Path(source).expanduser().resolve())
    if config.data.latents is not None:
        changes["data.latents"] = str(Path(config.data.latents).expanduser().resolve())
    return override(config, changes)


def absolute_directory(run: RunConfig) -> str:
    """Folder of all runs, whatever directory a worker runs in."""
    return str(_base_directory() / Path(run.directory).expanduser())


def absolute_model(path: str) -> str:
    """A model's folder, whatever directory a worker runs in; a hub name stays one."""
    if path == EMBEDDED:
        return str(committed_model())
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
    if max(config.data.height, config.data.width) > (largest := largest_side(config.teacher.path)):
        raise ValueError(f"data.height and data.width must not exceed {largest}, the teacher's largest side")


def _latents_folder(config: Config, provenance: Provenance) -> Path:
    if config.data.latents is None:
        return Path(config.run.directory) / "latents" / provenance.key
    folder = Path(config.data.latents)
    require_same(folder, provenance, setting="data.latents")
    return folder
