"""Everything that can be known before a cluster starts: model, pictures, the plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ladd_ray.config import override
from ladd_ray.data.provenance import require_same
from ladd_ray.data.sources import list_shards, source_fingerprint
from ladd_ray.data.task_rows import EncodedProvenance
from ladd_ray.data_sections import EMBEDDED
from ladd_ray.models.folder import encoders_fingerprint, fingerprint, is_hub_name, largest_side, shape_config
from ladd_ray.pretrain_config import FinetuneConfig
from ladd_ray.training.preflight import absolute_directory, absolute_model

NOT_ABOUT_ROWS = {"source", "encoded", "encoding_batch_size", "memory_gb"}


@dataclass(frozen=True)
class FinetunePlan:
    """A checked continued training: what the workers get."""

    config: FinetuneConfig
    """With absolute paths."""
    model: str
    """Fingerprint of the model that the run starts from."""
    provenance: EncodedProvenance
    encoded: Path
    """Folder of the encoded rows, which may not exist yet."""

    def describe(self) -> str:
        """What would run, for people."""
        run, data = self.config.run, self.config.data
        state = "reuse" if self.encoded.is_dir() else "encode"
        where = f"{run.num_workers} x {run.device}" if run.num_workers else "this process"
        tasks = "generate, edit, inpaint" if self.config.model.three_tasks else "generate"
        return "\n".join(
            [
                f"run       {run.path}",
                f"model     {self.config.model.path} ({self.model}): {tasks}",
                f"data      {state} {data.source}: {self.encoded}",
                f"training  {run.steps} steps of {run.global_batch_size} ({run.micro_batch_size} per worker and micro "
                f"batch) on {where}",
                f"result    {run.path / 'pipeline'}",
            ]
        )


def prepare(config: FinetuneConfig, *, fetch: bool = True) -> FinetunePlan:
    """Check the whole configuration against the world.

    Args:
        config: as the user gave it.
        fetch: a model on the hub is downloaded, since its weights name the run; without it, its name stands in.

    Raises:
        ValueError: with the fix in the message.
    """
    config = _with_absolute_paths(config)
    path = config.model.path
    at_hand = fetch or not is_hub_name(path)
    # First, because it fetches what only has a name, and says so when it cannot.
    model = fingerprint(path) if at_hand else path
    if at_hand:
        _check_model(config)
    list_shards(config.data)
    settings = config.data.model_dump(mode="json", exclude=NOT_ABOUT_ROWS)
    provenance = EncodedProvenance(
        encoders=encoders_fingerprint(path) if at_hand else path,
        source=source_fingerprint(config.data),
        settings=json.dumps(settings, sort_keys=True),
        precision=config.optimizer.precision,
    )
    return FinetunePlan(config, model, provenance, _encoded_folder(config, provenance))


def _with_absolute_paths(config: FinetuneConfig) -> FinetuneConfig:
    """Workers run in other directories, so the driver resolves every path."""
    changes = {"run.directory": absolute_directory(config.run), "model.path": absolute_model(config.model.path)}
    if config.data.source != EMBEDDED:
        changes["data.source"] = str(Path(config.data.source).expanduser().absolute())
    if config.data.encoded is not None:
        changes["data.encoded"] = str(Path(config.data.encoded).expanduser().resolve())
    return override(config, changes)


def _check_model(config: FinetuneConfig) -> None:
    path = config.model.path
    shape, largest = shape_config(path), largest_side(path)
    if any(max(bucket) > largest for bucket in config.data.buckets):
        raise ValueError(f"data.buckets = {config.data.buckets} must not exceed {largest}, the model's largest side")
    if not config.model.three_tasks and shape["in_channels"] != shape["out_channels"]:
        raise ValueError(f"{path} edits and inpaints already: set model.three_tasks = True to go on with it")


def _encoded_folder(config: FinetuneConfig, provenance: EncodedProvenance) -> Path:
    if config.data.encoded is None:
        return Path(config.run.directory) / "encoded" / provenance.key
    folder = Path(config.data.encoded)
    require_same(folder, provenance, setting="data.encoded")
    return folder
