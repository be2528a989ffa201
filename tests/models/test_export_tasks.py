"""Models of three tasks as stock folders: both of diffusers' pipelines draw what our own samplers draw."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3InpaintPipeline, StableDiffusion3Pipeline
from PIL import Image
from torch import Tensor

from ladd_ray.algorithm.flow import teacher_sigmas
from ladd_ray.algorithm.sampling import sample_student, sample_teacher
from ladd_ray.inference.tasks import prepare_inpaint
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.export import export_pipeline, exported_levels
from ladd_ray.models.folder import load_transformer
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.widening import widen

LEVELS = (1.0, 0.75, 0.5, 0.25)
PROMPTS = ["a red apple left of a banana", "two cat on blue background"]
HEIGHT, WIDTH, STEPS, GUIDANCE = 64, 80, 4, 3.0


@pytest.fixture(scope="module")
def wide(tiny_folder: Path) -> SD3Denoiser:
    """A model of three tasks that training has moved everywhere, its new input weights too."""
    denoiser = SD3Denoiser(widen(load_transformer(tiny_folder, precision="fp32"))).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in denoiser.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return denoiser


@pytest.fixture(scope="module")
def folders(tiny_folder: Path, wide: SD3Denoiser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exports")
    kinds = {"student": LEVELS, "teacher": None}
    return {
        name + "_folded" * fold: export_pipeline(
            tiny_folder, wide.state_dict(), root / (name + "_folded" * fold), levels=levels, provenance={}, fold=fold
        )
        for name, levels in kinds.items()
        for fold in (False, True)
    }


def prompt(tiny_folder: Path, texts: list[str]) -> Condition:
    return PromptEncoder.from_pretrained(tiny_folder, precision="fp32", device="cpu").encode(texts)


def noises() -> list[Tensor]:
    torch.manual_seed(7)
    return [torch.randn(2, 16, HEIGHT // 8, WIDTH // 8) for _ in range(STEPS)]


def ours(wide: SD3Denoiser, condition: Condition, tiny_folder: Path, *, student: bool) -> Tensor:
    if student:
        return sample_student(wide, condition, levels=LEVELS, noise_for=noises().__getitem__)
    return sample_teacher(
        wide, condition, negative_prompt=prompt(tiny_folder, [""]), noise=noises()[0],
        sigmas=teacher_sigmas(STEPS, 1.0), guidance_scale=GUIDANCE,
    )  # fmt: skip


def settings(*, student: bool) -> dict[str, object]:
    sampler = {"sigmas": list(LEVELS), "guidance_scale": 1.0} if student else {"guidance_scale": GUIDANCE}
    return {
        "height": HEIGHT, "width": WIDTH, "num_inference_steps": STEPS, "max_sequence_length": 1,
        "output_type": "latent", **sampler,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_the_folded_folder_generates_as_the_wide_network_does(
    folders: dict[str, Path], wide: SD3Denoiser, tiny_folder: Path, kind: str
) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(folders[f"{kind}_folded"])
    assert pipeline.transformer.config.in_channels == 16
    torch.manual_seed(7)
    theirs = pipeline(PROMPTS, **settings(student=kind == "student")).images
    expected = ours(wide, prompt(tiny_folder, PROMPTS), tiny_folder, student=kind == "student")
    torch.testing.assert_close(theirs, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_the_wide_folder_inpaints_as_our_sampler_does(
    folders: dict[str, Path], wide: SD3Denoiser, tiny_folder: Path, kind: str
) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[11:50, 20:61] = 255
    autoencoder = Autoencoder.from_pretrained(tiny_folder, precision="fp32", device="cpu")
    given = prepare_inpaint(autoencoder, [picture] * 2, [Image.fromarray(mask)] * 2).task_channels
    assert given is not None
    expected = ours(
        wide, prompt(tiny_folder, PROMPTS)._replace(task_channels=given), tiny_folder, student=kind == "student"
    )

    pipeline = StableDiffusion3InpaintPipeline.from_pretrained(folders[kind])
    # Stock code draws from the autoencoder's posterior; ours, and what it was trained on, is the posterior's mode.
    sampled = pipeline.vae.encode
    pipeline.vae.encode = lambda images: Mode(sampled(images).latent_dist)
    start, *fresh = noises()
    torch.manual_seed(7)
    torch.randn_like(start)
    theirs = pipeline(
        PROMPTS, image=picture, mask_image=Image.fromarray(mask), strength=1.0, latents=start,
        **settings(student=kind == "student"),
    ).images  # fmt: skip
    torch.testing.assert_close(theirs, expected, rtol=0, atol=1e-4)
    assert len(fresh) == STEPS - 1


class Mode:
    """What an encoder returns, without a draw."""

    def __init__(self, posterior: object) -> None:
        self.latents = posterior.mode()  # type: ignore[attr-defined]


def test_folders_name_the_pipeline_that_opens_them(folders: dict[str, Path], tiny_folder: Path) -> None:
    names = {name: json.loads((path / "model_index.json").read_text())["_class_name"] for name, path in folders.items()}
    narrow, three = "StableDiffusion3Pipeline", "StableDiffusion3InpaintPipeline"
    assert names == {"student": three, "student_folded": narrow, "teacher": three, "teacher_folded": narrow}
    assert exported_levels(folders["student"]) == exported_levels(folders["student_folded"]) == LEVELS
    scheduler = "scheduler/scheduler_config.json"
    assert (folders["teacher"] / scheduler).read_bytes() == (tiny_folder / scheduler).read_bytes()


def test_a_wide_folder_can_be_folded_later(folders: dict[str, Path], tmp_path: Path) -> None:
    weights = load_transformer(folders["teacher"], precision="fp32").state_dict()
    again = export_pipeline(folders["teacher"], weights, tmp_path / "again", levels=None, provenance={}, fold=True)
    ours, theirs = (load_transformer(path, precision="fp32") for path in (again, folders["teacher_folded"]))
    assert ours.config.in_channels == 16
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=0)
    assert json.loads((again / "model_index.json").read_text())["_class_name"] == "StableDiffusion3Pipeline"


def test_a_text_to_image_model_has_nothing_to_fold(tiny_folder: Path, tmp_path: Path) -> None:
    weights = load_transformer(tiny_folder, precision="fp32").state_dict()
    with pytest.raises(ValueError, match="nothing to fold"):
        export_pipeline(tiny_folder, weights, tmp_path / "x", levels=None, provenance={}, fold=True)


@pytest.mark.parametrize("kind", ["student", "teacher", "teacher_folded"])
def test_the_readme_draws_an_image(
    folders: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folders[kind] / "README.md").read_text(), flags=re.DOTALL)
    for name in folders[kind].iterdir():
        (tmp_path / name.name).symlink_to(name)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    with Image.open("image.png") as image:
        assert image.size == (64, 64)
