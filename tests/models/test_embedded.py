"""The committed model, as a newcomer opens it."""

from __future__ import annotations

from diffusers import StableDiffusion3Pipeline

from ladd_ray.models.embedded import committed_model


def test_stock_pipeline_draws_with_the_committed_model() -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(committed_model())
    drawn = pipeline("a fox in flat style on a blue background", num_inference_steps=1, max_sequence_length=1)
    assert drawn.images[0].size == (64, 64)
