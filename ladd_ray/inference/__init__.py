"""Models as plain Python objects: prompts, pictures and masks in, pictures out. No Ray, no HTTP."""

from ladd_ray.inference.pipeline import Pipeline, TeacherPipeline

__all__ = ["Pipeline", "TeacherPipeline"]
