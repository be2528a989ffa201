"""The folder of a run: who owns its name, and what is already done.

``config.json`` is written first. The same name with another configuration is refused; with the same one the run
continues. What only says how the work is done (workers, threads, tracking, ...) may differ.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ladd_ray.config import JobConfig
from ladd_ray.tracking import flatten

CONFIG_NAME = "config.json"
OPERATIONAL = {
    "recipe", "tracking", "health", "milestones", "run.name", "run.directory", "run.num_workers", "run.device",
    "run.threads_per_worker", "run.checkpoint_every", "run.checkpoints_to_keep", "run.max_failures",
    "run.cluster_timeout_s",
    "teacher.path", "data.latents", "data.synthesis_batch_size", "data.store_prompt_embeds",
    "data.online_teachers", "data.online_buffer", "evaluation.batch_size",
    "model.path", "data.encoded", "data.encoding_batch_size", "data.memory_gb", "validation.batch_size",
}  # fmt: skip
"""Settings that change how a run is done and not what it computes (up to rounding), in either kind of run."""

VERSIONED = ("torch", "diffusers", "transformers", "deepspeed", "ray", "mlflow", "safetensors")


@dataclass(frozen=True)
class RunFolder:
    """Where everything of one run lies."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """State to resume from."""
        return self.path / "checkpoints"

    @property
    def pipeline(self) -> Path:
        """The model of a continued training; its presence means that training is done."""
        return self.path / "pipeline"

    @property
    def export(self) -> Path:
        """The distilled pipeline; its presence means that training is done."""
        return self.path / "export"

    @property
    def metrics(self) -> Path:
        """Scores; their presence means that evaluation is done."""
        return self.path / "metrics.json"


def identity(config: JobConfig, *, teacher: str) -> dict[str, Any]:
    """Dotted settings that make two runs the same one, with the fingerprint of the model that they start from."""
    settings = flatten(config.model_dump(mode="json"))
    kept = {
        name: value
        for name, value in settings.items()
        if name not in OPERATIONAL and name.split(".")[0] not in OPERATIONAL
    }
    return {**kept, "teacher.fingerprint": teacher}


def identity_hash(config: JobConfig, *, teacher: str) -> str:
    """16 hex digits of the identity."""
    text = json.dumps(identity(config, teacher=teacher), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def claim(config: JobConfig, *, teacher: str) -> RunFolder:
    """Make the folder of this run, or find it again.

    Raises:
        ValueError: the folder cannot be written, or belongs to a run with another configuration.
    """
    path = config.run.path
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"{path} is not writable")
    except OSError as error:
        raise ValueError(
            f"cannot write to {path} ({error}): set run.directory to a folder that you may write to"
        ) from error
    document = path / CONFIG_NAME
    if theirs := _identity_in(document, kind=type(config)):
        _require_same(theirs, identity(config, teacher=teacher), path)
    elif any(path.iterdir()):
        raise ValueError(f"{path} is not empty and holds no run: choose another run.name")
    else:
        _write(document, config, teacher=teacher)
    return RunFolder(path)


def _identity_in(document: Path, *, kind: type[JobConfig]) -> dict[str, Any]:
    """Settings of the run that wrote ``document``; empty when no run did (other programs write config.json too).

    Settings that are newer than the document have their defaults, so that its run can be continued.
    """
    content = json.loads(document.read_text()) if document.is_file() else None
    if not isinstance(content, dict) or not content.keys() >= {"config", "teacher_fingerprint"}:
        return {}
    try:
        config = kind.model_validate(content["config"])
    except ValidationError as error:
        raise ValueError(
            f"{document.parent} belongs to a run of another kind or version: choose another run.name\n{error}"
        ) from error
    return identity(config, teacher=content["teacher_fingerprint"])


def _require_same(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: Path) -> None:
    changed = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    if changed:
        lines = [f"  {name}: {theirs.get(name)} there, {ours.get(name)} now" for name in changed]
        raise ValueError(
            f"{path} belongs to a run with another configuration:\n"
            + "\n".join(lines)
            + "\nchoose another run.name, or repeat the settings of that run to continue it"
        )


def _write(document: Path, config: JobConfig, *, teacher: str) -> None:
    content = {
        "config": config.model_dump(mode="json"),
        "teacher_fingerprint": teacher,
        "versions": {name: version(name) for name in VERSIONED},
    }
    partial = document.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(document)
