"""A student of three tasks with guidance knobs, from the training set to the export, on a tiny teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ladd_ray.algorithm.strengths import NUM_FEATURES, judged_prompt
from ladd_ray.config import Config, override
from ladd_ray.data.stickers import render, scene
from ladd_ray.engine.local import LocalEngine
from ladd_ray.inference import Pipeline
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import has_three_tasks, load_transformer
from ladd_ray.models.strengths import Knob, Knobs
from ladd_ray.models.widening import widen
from ladd_ray.training import feeds
from ladd_ray.training.knobs import guidance_knobs
from ladd_ray.training.methods.ladd import LaddMethod, build_ladd
from ladd_ray.training.preflight import prepare
from ladd_ray.training.run_folder import RunFolder
from ladd_ray.training.synthesis import ensure_latents
from ladd_ray.training.worker import run_worker, worker_settings
from tests.training.methods.steps import batch_for
from tests.training.runs import STEPS, tiny_config

KNOBS = {
    "student__guidance_knobs": True,
    "data__guidance_range": (1.5, 6.0),
    "data__image_guidance_range": (1.0, 2.5),
}
TASKS = {"data__tasks": {"generate": 0.4, "edit": 0.4, "inpaint": 0.2}, "data__num_latents": 20}


@pytest.fixture(scope="module")
def wide_teacher(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that edits and inpaints, with random weights everywhere."""
    generator = torch.Generator().manual_seed(0)
    weights = widen(load_transformer(tiny_folder, precision="fp32")).state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
    return export_pipeline(tiny_folder, moved, tmp_path_factory.mktemp("wide") / "teacher", levels=None, provenance={})


@pytest.fixture(scope="module")
def trained(wide_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A finished run, up to its export."""
    directory = tmp_path_factory.mktemp("runs")
    plan = prepare(tiny_config(wide_teacher, directory, **KNOBS, **TASKS, run__steps=3, student__lr=3e-3))
    settings = worker_settings(plan.config, teacher=plan.teacher, latents=ensure_latents(plan))
    with pytest.MonkeyPatch.context() as patch:
        # A random teacher draws noise, which training would refuse.
        patch.setattr(feeds, "require_pictures", lambda *_, **__: None)
        run_worker(settings)
    return plan.config


def knobbed(config: Config) -> LaddMethod:
    changes = {name.replace("__", "."): value for name, value in KNOBS.items()}
    return build_ladd(override(config, changes), LocalEngine("cpu", total_steps=STEPS))


def test_the_export_generates_edits_and_inpaints_with_its_knobs(trained: Config) -> None:
    export = RunFolder(trained.run_directory).export
    assert has_three_tasks(export)
    pipeline = Pipeline.from_pretrained(export)
    assert pipeline.knobs == Knobs(text=Knob(1.5, 6.0, 3.0), image=Knob(1.0, 2.5, 1.5))
    picture, hole = render(scene(0, 0)), np.zeros((64, 64), dtype=bool)
    hole[16:48, 16:48] = True

    def edited(**guidance: float) -> np.ndarray:
        (image,) = pipeline.edit([picture], ["make the background blue"], seed=1, **guidance)
        return np.asarray(image).astype(int)

    assert abs(edited() - edited(text_guidance=6.0)).max() > 0
    assert abs(edited() - edited(image_guidance=2.5)).max() > 0
    (filled,) = pipeline.inpaint([picture], [hole], ["a red apple"])
    assert np.array_equal(np.asarray(filled)[~hole], picture[~hole])
    assert len(pipeline.generate(["a red apple"])) == 1


def test_training_moves_the_embedding(trained: Config) -> None:
    pipeline = Pipeline.from_pretrained(RunFolder(trained.run_directory).export)
    embedding = pipeline._denoiser.strengths
    assert embedding is not None
    offsets = embedding(torch.tensor([[1.5, 1.0], [6.0, 1.0], [1.5, 2.5]]))
    assert torch.pdist(offsets).min() > 0


def test_a_student_starts_as_its_teacher_whatever_its_knobs(config: Config) -> None:
    method, plain = knobbed(config), build_ladd(config, LocalEngine("cpu", total_steps=STEPS))
    batch = batch_for(method)
    told = batch.prompt._replace(strengths=torch.tensor([[1.5, 1.0], [6.0, 2.5]] * 2))
    sigma = torch.full((4,), 0.7)
    with torch.no_grad():
        ours = method.student(batch.latents, sigma, *told)
        assert torch.equal(ours, plain.student(batch.latents, sigma, *batch.prompt))


def test_the_heads_are_told_the_strengths(config: Config) -> None:
    method = knobbed(config)
    batch = batch_for(method)
    features = method.features(batch.latents, torch.full((4,), 0.5), *batch.prompt)

    def logits(strength: float) -> Tensor:
        prompt = batch.prompt._replace(strengths=torch.full((4, 2), strength))
        assert judged_prompt(prompt).shape[1] == method.student.module.pooled_size + NUM_FEATURES
        return torch.stack(method.heads(features, torch.full((4,), 0.5), judged_prompt(prompt)))

    assert (logits(1.5) - logits(6.0)).abs().max() > 1e-3


def test_knobs_take_range_and_defaults_from_the_data(config: Config) -> None:
    def knobs(**changes: object) -> Knobs | None:
        return guidance_knobs(override(config, {name.replace("__", "."): value for name, value in changes.items()}))

    assert knobs() is None
    only_text = {"student__guidance_knobs": True, "data__guidance_range": (4.0, 6.0)}
    assert knobs(**only_text) == Knobs(text=Knob(4.0, 6.0, 4.0), image=Knob(1.5, 1.5, 1.5))
    of_consistency = knobs(**only_text, method="lcm")
    assert of_consistency == Knobs(text=Knob(3.0, 15.0, 3.0), image=Knob(1.0, 1.0, 1.0))
