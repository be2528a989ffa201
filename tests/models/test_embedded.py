"""The committed model, as a newcomer opens it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusion3InpaintPipeline, StableDiffusion3Pipeline
from PIL import Image

from ladd_ray.inference import Pipeline
from ladd_ray.models.embedded import committed_model, committed_student
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer

MOST_BYTES = 48 * 2**20
"""A clone carries all committed weights: a model of many steps, its student, and a judge."""


def test_stock_pipeline_inpaints_with_the_committed_model() -> None:
    pipeline = StableDiffusion3InpaintPipeline.from_pretrained(committed_model())
    picture, mask = Image.new("RGB", (64, 64), "white"), Image.new("L", (64, 64), 0)
    mask.paste(255, (32, 0, 64, 64))
    drawn = pipeline(
        "a fox in flat style on a blue background",
        image=picture,
        mask_image=mask,
        strength=1.0,
        height=64,
        width=64,
        num_inference_steps=2,
        max_sequence_length=1,
    )
    assert drawn.images[0].size == (64, 64)


def test_stock_pipeline_draws_with_its_text_to_image_part(tmp_path: Path) -> None:
    weights = load_transformer(committed_model(), precision="fp32").state_dict()
    folder = export_pipeline(committed_model(), weights, tmp_path / "folded", levels=None, provenance={}, fold=True)
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder)
    drawn = pipeline("a fox in flat style on a blue background", num_inference_steps=1, max_sequence_length=1)
    assert drawn.images[0].size == (64, 64)


def test_the_committed_student_does_all_tasks_and_has_knobs() -> None:
    student = Pipeline.from_pretrained(committed_student())
    assert student.levels == (1.0, 0.75, 0.5, 0.25)
    picture = student.generate(["a red apple on a blue background"], seed=0, num_inference_steps=2)[0]
    instruction = ["make the background green"]
    weak, strong = (
        np.asarray(student.edit([picture], instruction, seed=0, num_inference_steps=2, text_guidance=guidance)[0])
        for guidance in (2.0, 5.0)
    )
    assert not np.array_equal(weak, strong)


def test_its_positions_are_learned() -> None:
    table = load_transformer(committed_model(), precision="fp32").pos_embed.pos_embed.reshape(16, 16, -1)
    middle = table[6:10, 6:10].flatten(0, 1)
    spread = (middle - middle.mean(dim=0)).norm(dim=1).mean() / middle.norm(dim=1).mean()
    assert float(torch.as_tensor(spread)) > 0.1, "the sine table differs by .07 between these tokens"


def test_committed_weights_stay_small() -> None:
    assets = committed_model().parent
    assert sum(file.stat().st_size for file in assets.rglob("*.safetensors")) <= MOST_BYTES
