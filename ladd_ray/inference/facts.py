"""What a model can do, as plain values: enough to check an order without the model."""

from __future__ import annotations

from dataclasses import dataclass

from ladd_ray.inference.drawing import TaskPipeline
from ladd_ray.inference.pipeline import Pipeline
from ladd_ray.models.strengths import Knob, Knobs

_GUIDED = Knob(1.0, 20.0, 4.0)
"""Range of a guided model's text guidance: beyond, colours burn."""
_GUIDED_IMAGE = Knob(1.0, 5.0, 1.0)
_MOST_STEPS = 50


@dataclass(frozen=True)
class ModelFacts:
    """A model from outside."""

    fingerprint: str
    """16 hex digits of its weights; see ``models.folder.fingerprint``."""
    edits: bool
    """Edits and inpaints, too."""
    native_size: int
    """Side in pixels where nothing is said."""
    size_multiple: int
    """Pixels that divide every side."""
    largest_side: int
    """In pixels."""
    default_steps: int
    most_steps: int
    knobs: Knobs | None
    """Guidance that may be chosen; None where it was fixed by distillation."""
    version: str | None = None
    """Of a registered model, such as models:/stickers/3."""
    guided: bool = False
    """A model of many steps under guidance: its pictures only lead where its words do, too."""


def facts_of(pipeline: TaskPipeline, *, fingerprint: str) -> ModelFacts:
    """The facts of a loaded model."""
    return ModelFacts(
        fingerprint=fingerprint,
        edits=pipeline.knows_tasks,
        native_size=pipeline.native_size,
        size_multiple=pipeline.size_multiple,
        largest_side=pipeline.largest_side,
        default_steps=pipeline.default_steps,
        most_steps=len(pipeline.levels) if isinstance(pipeline, Pipeline) else _MOST_STEPS,
        knobs=pipeline.knobs if isinstance(pipeline, Pipeline) else Knobs(text=_GUIDED, image=_GUIDED_IMAGE),
        guided=not isinstance(pipeline, Pipeline),
    )
