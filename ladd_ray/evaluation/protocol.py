"""How scores were made, with a hash: scores with different hashes are never put in one table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

HASH = "hash"
"""Key of the hash among the facts."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """Everything but the models that decides the scores of an evaluation. Fingerprints are 16 hex digits."""

    num_images: int
    """Pictures in each set."""
    sizes: tuple[tuple[int, int], ...]
    """Height and width in pixels, in turns."""
    prompts: str
    """Fingerprint of all prompts, in order."""
    seed: int
    """Of the noise that pictures grow from."""
    num_diversity_prompts: int
    num_diversity_seeds: int
    student_steps: tuple[int, ...]
    teacher_steps: int
    teacher_guidance: float
    teacher_shift: float | None
    """None is the shift of each model's own scheduler."""
    features: str
    """Name of the feature network."""
    reference: str | None
    """What distances are measured to; None where none is."""
    judge: str | None
    """Fingerprint of the judge; None without one."""
    clip: str | None
    """Architecture and fingerprint of CLIP; None without one."""

    def to_dict(self) -> dict[str, Any]:
        """The facts as they stand in a JSON file, with their hash."""
        return with_hash(asdict(self))


@dataclass(frozen=True)
class TaskProtocol:
    """The same for editing or inpainting."""

    task: str
    num_images: int
    """Exercises."""
    sizes: tuple[tuple[int, int], ...]
    """Height and width in pixels, in turns."""
    exercises: str
    """Fingerprint of all texts, given pictures, holes and exact results, in order."""
    seed: int
    """Of exercises and noise."""
    student_steps: tuple[int, ...]
    teacher_steps: int
    teacher_guidance: float
    image_guidance: float | None
    """None where the task knows none."""
    teacher_shift: float | None
    """None is the shift of each model's own scheduler."""
    features: str
    """Name of the feature network."""
    judge: str
    """Fingerprint of the judge."""

    def to_dict(self) -> dict[str, Any]:
        """The facts as they stand in a JSON file, with their hash."""
        return with_hash(asdict(self))


def with_hash(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of plain values as they stand in a JSON file, and 16 hex digits that change with any of them."""
    text = json.dumps(facts, sort_keys=True)
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return {**plain, HASH: hashlib.sha256(text.encode()).hexdigest()[:16]}


def require_same_protocol(protocol: Mapping[str, Any], other: Mapping[str, Any], *, where: str) -> None:
    """Refuse to compare scores that were made in different ways.

    Args:
        protocol: Facts with their hash, of the scores at hand.
        other: Those of other scores.
        where: What the other scores are called, for the message.

    Raises:
        ValueError: the hashes differ; names each fact that does, with both values.
    """
    if protocol[HASH] == other.get(HASH):
        return
    names = sorted(name for name in {*protocol, *other} - {HASH} if protocol.get(name) != other.get(name))
    lines = [f"  {name}: {other.get(name)} there, {protocol.get(name)} here" for name in names]
    raise ValueError(
        f"{where} was scored under another protocol ({other.get(HASH)} there, {protocol[HASH]} here):\n"
        + "\n".join(lines)
        + "\nscores made in different ways do not compare: repeat the settings, or score both anew"
    )
