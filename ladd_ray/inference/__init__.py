"""A distilled student as a plain Python object: prompts in, pictures out. No Ray, no HTTP."""

from ladd_ray.inference.pipeline import Pipeline

__all__ = ["Pipeline"]
