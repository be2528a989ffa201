"""What a student leaves as: a folder of what it was trained to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from ladd_ray.algorithm.tasks import generate_channels
from ladd_ray.data_sections import TaskShares
from ladd_ray.engine.local import LocalEngine
from ladd_ray.models.folder import has_three_tasks, load_transformer
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.training.methods import build_method
from ladd_ray.training.networks import new_student
from ladd_ray.training.student_export import export_student
from tests.training.models import widened
from tests.training.runs import TEACHER, tiny_config


@pytest.mark.parametrize(("edit", "three_tasks"), [(0.0, False), (0.5, True)])
def test_a_wide_teachers_student_keeps_the_tasks_it_was_trained_for(
    tiny_folder: Path, tmp_path: Path, *, edit: float, three_tasks: bool
) -> None:
    wide = widened(tiny_folder, tmp_path / "wide")
    shares = TaskShares(generate=1 - edit, edit=edit, inpaint=0.0)
    config = tiny_config(wide, tmp_path, data__tasks=shares.model_dump(), student__ema_decay=0.0)
    engine = LocalEngine("cpu", total_steps=1)
    student = build_method(config, engine).student
    output = tmp_path / "export"
    export_student(config, student, output, engine=engine, teacher=TEACHER, steps=1)
    assert has_three_tasks(output) == three_tasks
    if not three_tasks:
        StableDiffusion3Pipeline.from_pretrained(output)
    inputs = (torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.9]), torch.randn(2, 5, 64), torch.randn(2, 64))
    with torch.no_grad():
        drawn = SD3Denoiser(load_transformer(output, precision="fp32"))(*inputs)
        expected = student(*inputs, generate_channels(inputs[0]))
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["add", "lcm"])
def test_the_readme_names_the_method_that_made_the_student(tiny_folder: Path, tmp_path: Path, method: str) -> None:
    config = tiny_config(tiny_folder, tmp_path, method=method)
    engine = LocalEngine("cpu", total_steps=1)
    export_student(
        config, engine.prepare(new_student(config), config.student), tmp_path / "export",
        engine=engine, teacher=TEACHER, steps=1,
    )  # fmt: skip
    readme = (tmp_path / "export" / "README.md").read_text()
    assert f"distilled by {method.upper()} (arXiv" in readme
    assert "LADD" not in readme
