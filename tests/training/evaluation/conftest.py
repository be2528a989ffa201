"""What the tests of the evaluation job share: a run with a student, and a small evaluation of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ladd_ray.config import override
from ladd_ray.evaluate_config import EvaluateConfig
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.widening import widen

SMALL = {
    "num_images": 6,
    "num_sample_prompts": 3,
    "sizes": ((64, 64), (64, 96)),
    "student.steps": (1, 2),
    "teacher.num_inference_steps": 2,
    "diversity.num_prompts": 2,
    "diversity.num_seeds": 2,
    "run.num_workers": 0,
    "run.batch_size": 4,
}

Configure = Callable[..., EvaluateConfig]


@pytest.fixture(scope="session")
def run_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: its export is a student that is not its teacher."""
    folder = tmp_path_factory.mktemp("runs") / "my-run"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    weights = load_transformer(tiny_folder, precision="fp32").state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
    export_pipeline(tiny_folder, moved, folder / "export", levels=(1.0, 0.75, 0.5, 0.25), provenance={})
    return folder


@pytest.fixture(scope="session")
def wide_run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose student edits and inpaints too."""
    return _wide_export(tiny_folder, tmp_path_factory.mktemp("runs") / "wide-run", levels=(1.0, 0.75, 0.5, 0.25)).parent


@pytest.fixture(scope="session")
def wide_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of many steps that edits and inpaints too."""
    return _wide_export(tiny_folder, tmp_path_factory.mktemp("wide-teacher"), levels=None)


def _wide_export(tiny_folder: Path, folder: Path, *, levels: tuple[float, ...] | None) -> Path:
    generator = torch.Generator().manual_seed(1)
    weights = widen(load_transformer(tiny_folder, precision="fp32")).state_dict()
    moved = {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
    folder.mkdir(exist_ok=True)
    return export_pipeline(tiny_folder, moved, folder / "export", levels=levels, provenance={})


@pytest.fixture
def configure(run_folder: Path, tmp_path: Path) -> Configure:
    """A small evaluation of the run; changes write a dot as two underscores."""

    def configured(*models: object, **changes: object) -> EvaluateConfig:
        config = EvaluateConfig(models=tuple(map(str, models or (run_folder,))), output=str(tmp_path / "results"))
        return override(config, {**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}})

    return configured
