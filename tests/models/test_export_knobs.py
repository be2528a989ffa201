"""Students with guidance knobs as folders: stock pipelines draw at one setting of them, ours turns them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3InpaintPipeline, StableDiffusion3Pipeline
from torch import Tensor

from ladd_ray.algorithm.sampling import sample_student
from ladd_ray.algorithm.tasks import edit_channels, inpaint_channels
from ladd_ray.interfaces import Condition
from ladd_ray.models.export import export_pipeline
from ladd_ray.models.folder import STRENGTHS_NAME, fingerprint, load_transformer
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser
from ladd_ray.models.strengths import Knob, Knobs, StrengthEmbedding, Strengths
from ladd_ray.models.student import load_student, silent_embedding
from ladd_ray.models.widening import widen

LEVELS = (1.0, 0.75, 0.5, 0.25)
KNOBS = Knobs(text=Knob(1.5, 5.0, 3.0), image=Knob(1.0, 2.5, 1.5))
PROMPTS = ["a red apple left of a banana", "two cat on blue background"]
FIXED = Strengths(4.0, 2.0)


@dataclass(frozen=True)
class Kind:
    """A way to export the wide student."""

    name: str
    fold: bool
    strengths: Strengths | None
    stock: Strengths
    """Where the stock folder draws."""


KINDS = (
    Kind("whole", False, None, Strengths(3.0, 1.5)),
    Kind("narrow", True, None, Strengths(3.0, 1.5)),
    Kind("fixed", False, FIXED, FIXED),
    Kind("narrow_fixed", True, FIXED, FIXED),
)


@pytest.fixture(scope="module")
def student(tiny_folder: Path) -> SD3Denoiser:
    """Wide, with knobs, and moved everywhere by training."""
    transformer = widen(load_transformer(tiny_folder, precision="fp32"))
    embedding = StrengthEmbedding(int(transformer.config.pooled_projection_dim), knobs=KNOBS)
    student = SD3Denoiser(transformer, strengths=embedding).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in student.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return student


@pytest.fixture(scope="module")
def folders(tiny_folder: Path, student: SD3Denoiser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exports")
    return {
        kind.name: export_pipeline(
            tiny_folder, student.state_dict(), root / kind.name, levels=LEVELS, provenance={},
            fold=kind.fold, knobs=KNOBS, strengths=kind.strengths,
        )
        for kind in KINDS
    }  # fmt: skip


def prompt(folder: Path) -> Condition:
    return PromptEncoder.from_pretrained(folder, precision="fp32", device="cpu").encode(PROMPTS)


def noises() -> list[Tensor]:
    torch.manual_seed(7)
    return [torch.randn(2, 16, 8, 10) for _ in LEVELS]


def drawn(denoiser: SD3Denoiser, condition: Condition) -> Tensor:
    return sample_student(denoiser, condition, levels=LEVELS, noise_for=noises().__getitem__)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.fold], ids=lambda kind: kind.name)
def test_the_stock_pipeline_generates_at_the_folded_setting(
    folders: dict[str, Path], student: SD3Denoiser, tiny_folder: Path, kind: Kind
) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(folders[kind.name])
    assert pipeline.transformer.config.in_channels == 16
    torch.manual_seed(7)
    theirs = pipeline(
        PROMPTS, height=64, width=80, num_inference_steps=4, sigmas=list(LEVELS), guidance_scale=1.0,
        max_sequence_length=1, output_type="latent",
    ).images  # fmt: skip
    ours = drawn(student, prompt(tiny_folder)._replace(strengths=kind.stock.rows(2)))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)
    elsewhere = drawn(student, prompt(tiny_folder)._replace(strengths=Strengths(1.5, 1.0).rows(2)))
    assert (elsewhere - ours).abs().max() > 1e-2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.fold], ids=lambda kind: kind.name)
def test_the_wide_stock_folder_edits_at_the_folded_setting(
    folders: dict[str, Path], student: SD3Denoiser, tiny_folder: Path, kind: Kind
) -> None:
    stock = StableDiffusion3InpaintPipeline.from_pretrained(folders[kind.name]).transformer
    torch.manual_seed(1)
    source = edit_channels(torch.randn(2, 16, 8, 10))
    condition = prompt(tiny_folder)._replace(task_channels=source)
    theirs = drawn(SD3Denoiser(stock), condition)
    ours = drawn(student, condition._replace(strengths=kind.stock.rows(2)))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)


def test_the_stock_folder_does_every_task_as_the_knobs_do_at_rest(
    folders: dict[str, Path], student: SD3Denoiser, tiny_folder: Path
) -> None:
    stock = SD3Denoiser(load_transformer(folders["whole"], precision="fp32"))
    torch.manual_seed(1)
    source, hole = torch.randn(2, 16, 8, 10), torch.zeros(2, 1, 8, 10)
    hole[:, :, 2:5] = 1
    for channels in (None, edit_channels(source), inpaint_channels(source, hole)):
        condition = prompt(tiny_folder)._replace(task_channels=channels)
        torch.testing.assert_close(drawn(stock, condition), drawn(student, condition), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.strengths is None], ids=lambda kind: kind.name)
def test_a_whole_export_gives_the_knobs_back_bit_by_bit(
    folders: dict[str, Path], student: SD3Denoiser, kind: Kind
) -> None:
    again = load_student(folders[kind.name], precision="fp32")
    assert again.strengths is not None and again.strengths.knobs == KNOBS
    entrance = "transformer.pos_embed.proj."
    for name, tensor in student.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor) or (kind.fold and name.startswith(entrance)), name


def test_an_export_at_fixed_strengths_has_no_knobs(folders: dict[str, Path]) -> None:
    assert not (folders["fixed"] / STRENGTHS_NAME).exists()
    assert load_student(folders["fixed"], precision="fp32").strengths is None


def test_a_whole_export_can_be_fixed_later(folders: dict[str, Path], tmp_path: Path) -> None:
    state = load_student(folders["whole"], precision="fp32").state_dict()
    later = export_pipeline(
        folders["whole"], state, tmp_path / "later", levels=LEVELS, provenance={}, knobs=KNOBS, strengths=FIXED
    )
    ours, theirs = (load_transformer(path, precision="fp32").state_dict() for path in (later, folders["fixed"]))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert not (later / STRENGTHS_NAME).exists()


def test_low_precision_keeps_the_knobs(tiny_folder: Path, student: SD3Denoiser, tmp_path: Path) -> None:
    folder = export_pipeline(
        tiny_folder, student.state_dict(), tmp_path / "half", levels=LEVELS, provenance={}, precision="bf16",
        knobs=KNOBS,
    )  # fmt: skip
    half = load_student(folder, precision="bf16")
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.bfloat16}
    for name, tensor in student.state_dict().items():
        assert torch.equal(half.state_dict()[name], tensor.to(torch.bfloat16)), name


def test_the_readme_names_the_setting_and_the_fingerprint_sees_the_knobs(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    assert "text guidance 4 and image guidance 2" in (folders["narrow_fixed"] / "README.md").read_text()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folders["whole"].iterdir():
        (copy / path.name).symlink_to(path)
    assert fingerprint(copy) == fingerprint(folders["whole"])
    (copy / STRENGTHS_NAME).unlink()
    assert fingerprint(copy) != fingerprint(folders["whole"])


def test_knobs_and_their_weights_belong_together(tiny_folder: Path, student: SD3Denoiser, tmp_path: Path) -> None:
    bare = load_transformer(tiny_folder, precision="fp32").state_dict()
    wrong = [(student.state_dict(), None, None), (bare, KNOBS, None), (bare, None, FIXED)]
    for state, knobs, strengths in wrong:
        with pytest.raises(ValueError, match=r"belong together|has no guidance knobs"):
            export_pipeline(
                tiny_folder, state, tmp_path / "x", levels=LEVELS, provenance={}, knobs=knobs, strengths=strengths
            )
    assert not any(tmp_path.iterdir())


def test_a_silent_embedding_is_the_same_on_every_rank(student: SD3Denoiser) -> None:
    first, second, other = (silent_embedding(student.transformer, KNOBS, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(other.hidden.weight, first.hidden.weight)
    assert first(Strengths(4.0, 2.0).rows(1)).abs().max() == 0
