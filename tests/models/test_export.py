from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from PIL import Image
from torch import Tensor

from ladd_ray.algorithm.sampling import sample_student
from ladd_ray.models import export, folder
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser

LEVELS = (1.0, 0.75, 0.5, 0.25)
PROVENANCE = {"recipe": "tiny", "steps": 3}
PROMPTS = ["a red apple left of a banana", "two cat on blue background"]
SEED = 7


@pytest.fixture(scope="module")
def student(tiny_folder: Path) -> SD3Denoiser:
    """A student that training has moved away from its teacher."""
    student = SD3Denoiser(folder.load_transformer(tiny_folder, precision="fp32")).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in student.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return student


@pytest.fixture(scope="module")
def exported(tiny_folder: Path, student: SD3Denoiser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tiny_folder, student.state_dict(), tmp_path_factory.mktemp("export") / "student")


def write(source: Path, state_dict: Mapping[str, Tensor], output: Path) -> Path:
    return export.export_pipeline(source, state_dict, output, levels=LEVELS, provenance=PROVENANCE)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_stock_pipeline_draws_what_our_sampler_draws(
    exported: Path, tiny_folder: Path, student: SD3Denoiser, stride: int
) -> None:
    levels = list(LEVELS[::stride])
    pipeline = StableDiffusion3Pipeline.from_pretrained(exported)
    torch.manual_seed(SEED)
    theirs = pipeline(
        PROMPTS,
        height=64,
        width=80,
        num_inference_steps=len(levels),
        sigmas=levels,
        guidance_scale=1.0,
        max_sequence_length=1,
        output_type="latent",
    ).images

    torch.manual_seed(SEED)
    noises = [torch.randn(2, 16, 8, 10) for _ in levels]
    prompt = PromptEncoder.from_pretrained(tiny_folder, precision="fp32", device="cpu").encode(PROMPTS)
    ours = sample_student(student, prompt, levels=levels, noise_for=noises.__getitem__)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)
    assert ours.std() > 0.1


def test_the_readme_draws_an_image(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    readme = (exported / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    for name in exported.iterdir():
        (tmp_path / name.name).symlink_to(name)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    with Image.open("image.png") as image:
        assert image.size == (64, 64)


def test_everything_but_transformer_and_scheduler_is_the_source(exported: Path, tiny_folder: Path) -> None:
    untouched = {
        file.relative_to(tiny_folder)
        for file in tiny_folder.rglob("*")
        if file.is_file() and file.parent.name not in ("transformer", "scheduler")
    }
    for file in untouched:
        assert (exported / file).read_bytes() == (tiny_folder / file).read_bytes()
    added = {path.name for path in exported.iterdir()} - {path.name for path in tiny_folder.iterdir()}
    assert added == {"README.md", "ladd.json"}


def test_weights_levels_and_provenance_are_written(exported: Path, student: SD3Denoiser) -> None:
    written = folder.load_transformer(exported, precision="fp32").state_dict()
    for name, tensor in student.transformer.state_dict().items():
        torch.testing.assert_close(written[name], tensor, rtol=0, atol=0)
    assert export.exported_levels(exported) == LEVELS
    assert json.loads((exported / "ladd.json").read_text()) == PROVENANCE


def test_levels_survive_saving_by_diffusers(exported: Path, tmp_path: Path) -> None:
    StableDiffusion3Pipeline.from_pretrained(exported).save_pretrained(tmp_path / "again")
    assert export.exported_levels(tmp_path / "again") == LEVELS


def test_weights_take_the_precision_of_the_source(tiny_folder: Path, student: SD3Denoiser, tmp_path: Path) -> None:
    weights = student.transformer.state_dict()
    half = export.export_pipeline(
        tiny_folder, weights, tmp_path / "half", levels=LEVELS, provenance={}, precision="bf16"
    )
    assert export.stored_dtype(half) == torch.bfloat16
    assert export.stored_dtype(write(half, weights, tmp_path / "from_half")) == torch.bfloat16
    assert export.stored_dtype(write(tiny_folder, weights, tmp_path / "full")) == torch.float32


def test_a_source_without_t5_says_how_to_open_it(tiny_folder: Path, student: SD3Denoiser, tmp_path: Path) -> None:
    source = tmp_path / "without_t5"
    StableDiffusion3Pipeline.from_pretrained(tiny_folder, text_encoder_3=None, tokenizer_3=None).save_pretrained(source)
    readme = (write(source, student.state_dict(), tmp_path / "student") / "README.md").read_text()
    assert 'from_pretrained(".", text_encoder_3=None, tokenizer_3=None)' in readme
    assert "max_sequence_length=0" in readme


def test_a_teacher_is_no_student(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="no distilled student"):
        export.exported_levels(tiny_folder)


def test_an_existing_output_is_refused(exported: Path, tiny_folder: Path, student: SD3Denoiser) -> None:
    before = sorted(exported.iterdir())
    with pytest.raises(ValueError, match="exists"):
        write(tiny_folder, student.state_dict(), exported)
    assert sorted(exported.iterdir()) == before


def test_weights_of_another_shape_are_refused(tiny_folder: Path, student: SD3Denoiser, tmp_path: Path) -> None:
    weights = dict(student.state_dict())
    weights.pop("transformer.proj_out.bias")
    with pytest.raises(ValueError, match=r"do not fit(.|\n)*proj_out\.bias"):
        write(tiny_folder, weights, tmp_path / "student")
    assert not any(tmp_path.iterdir())


def test_a_failed_export_leaves_nothing_behind(tiny_folder: Path, student: SD3Denoiser, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        export.export_pipeline(
            tiny_folder, student.state_dict(), tmp_path / "x", levels=LEVELS, provenance={"bad": object()}
        )
    assert not any(tmp_path.iterdir())
