"""The guidance knobs of a run's student: ranges and defaults are those that its targets were drawn at."""

from __future__ import annotations

from ladd_ray.config import Config
from ladd_ray.models.strengths import NEUTRAL, Knob, Knobs


def guidance_knobs(config: Config) -> Knobs | None:
    """None for a student without."""
    if not config.student.guidance_knobs:
        return None
    data = config.data
    if config.method == "lcm":
        # Its teacher steps at a strength of their own, holes too, and leaves the guidance by the source alone.
        text = _knob(config.lcm.guidance, data.guidance_scale)
        return Knobs(text=text, image=Knob(NEUTRAL, NEUTRAL, NEUTRAL), filling=text.default)
    return Knobs(
        text=_knob(data.text_guidance, data.guidance_scale),
        image=_knob(data.image_guidance, data.image_guidance_scale),
    )


def _knob(bounds: tuple[float, float], wanted: float) -> Knob:
    low, high = bounds
    return Knob(low, high, min(max(wanted, low), high))
