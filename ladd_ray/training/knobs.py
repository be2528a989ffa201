"""The guidance knobs of a run's student: ranges and defaults are those that its targets were drawn at."""

from __future__ import annotations

from ladd_ray.algorithm.strengths import IdleKnobs
from ladd_ray.config import Config
from ladd_ray.models.strengths import NEUTRAL, Knob, Knobs, Strengths


def guidance_knobs(config: Config) -> Knobs | None:
    """None for a student without."""
    if not config.student.guidance_knobs:
        return None
    data = config.data
    if config.method == "lcm":
        # Its teacher steps at strengths of their own, and leaves the guidance by the source alone.
        return Knobs(text=_knob(config.lcm.guidance, data.guidance_scale), image=Knob(NEUTRAL, NEUTRAL, NEUTRAL))
    return Knobs(
        text=_knob(data.text_guidance, data.guidance_scale),
        image=_knob(data.image_guidance, data.image_guidance_scale),
    )


def idle_knobs(config: Config) -> IdleKnobs | None:
    """What the student is told where a knob has no effect; None for a student without."""
    knobs = guidance_knobs(config)
    if knobs is None:
        return None
    text, image = knobs.text, knobs.image
    return IdleKnobs(text=(text.low, text.high), image=(image.low, image.high), seed=config.run.seed)


def teacher_strengths(config: Config) -> Strengths:
    """What leads the teacher that a student is compared with: where the student's knobs rest, if it has any."""
    knobs, data = guidance_knobs(config), config.data
    return Strengths(data.guidance_scale, data.image_guidance_scale) if knobs is None else knobs.pick()


def _knob(bounds: tuple[float, float], wanted: float) -> Knob:
    low, high = bounds
    return Knob(low, high, min(max(wanted, low), high))
