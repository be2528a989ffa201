"""What a row of the training set is, for every task."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ladd_ray.algorithm.guidance import guided_velocity
from ladd_ray.algorithm.noise import per_step
from ladd_ray.algorithm.tasks import edit_channels
from ladd_ray.config import Config, override
from ladd_ray.data.items import Item
from ladd_ray.data.task_rows import TaskRow
from ladd_ray.data.training_rows import numbered_rows, reader_settings, training_shards
from ladd_ray.training.sampler import Sampler
from ladd_ray.training.teaching import Teacher
from tests.training.finetuning.runs import png
from tests.training.models import widened

COUNT = 24
TASKS = {"data.tasks.generate": 0.4, "data.tasks.edit": 0.3, "data.tasks.inpaint": 0.3}


@pytest.fixture(scope="module")
def wide_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that edits and inpaints, whose new weights are not zero."""
    return widened(tiny_folder, tmp_path_factory.mktemp("wide") / "model")


def settings(config: Config, teacher: Path, **changes: object) -> Config:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    common = {"teacher.path": str(teacher), "data.num_latents": COUNT, "data.num_inference_steps": 1}
    return override(config, {**common, **TASKS, **dotted})


def made(config: Config) -> list[TaskRow]:
    items = [item for shard in training_shards(config.data) for item in shard.items(reader_settings(config.data))]
    return sorted(Teacher(config).rows(items), key=lambda row: row.id)


def pixels(content: bytes) -> torch.Tensor:
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_every_number_gives_one_row_of_its_task(config: Config, wide_folder: Path) -> None:
    rows = made(settings(config, wide_folder))
    assert [row.id for row in rows] == list(range(COUNT))
    assert {row.task for row in rows} == {"generate", "edit", "inpaint"}
    for row in rows:
        assert row.real == (row.task == "inpaint")
        assert (row.source is None) == (row.task == "generate")
        assert (row.mask is None) == (row.task != "inpaint")
        assert row.text_guidance == (1.0 if row.real else 3.0)
        assert row.image_guidance == (1.5 if row.task == "edit" else 1.0)


@pytest.mark.parametrize("guidance", [(1.0, None), (4.0, None), (3.0, (2.0, 6.0))], ids=["none", "one", "drawn"])
def test_prompts_are_drawn_under_the_configured_guidance(
    config: Config, tiny_folder: Path, guidance: tuple[float, tuple[float, float] | None]
) -> None:
    """One Euler step from noise: x0 = noise - v, with v = v_empty + guidance (v_prompt - v_empty)."""
    scale, bounds = guidance
    changes = {"data__guidance_scale": scale, "data__guidance_range": bounds, "data__allow_unguided": True}
    generate = {"data__tasks__generate": 1, "data__tasks__edit": 0, "data__tasks__inpaint": 0}
    rows = made(settings(config, tiny_folder, **changes, **generate))
    sampler = Sampler(tiny_folder, precision="fp32", device="cpu")  # type: ignore[arg-type]
    noise = per_step((16, 8, 8), seed=config.data.seed, sample_ids=range(COUNT), device="cpu")(0)
    sigma, strengths = torch.ones(COUNT), torch.tensor([row.text_guidance for row in rows])
    with torch.no_grad():
        conditional = sampler.denoiser(noise, sigma, *sampler.encoder.encode([row.prompt for row in rows]))
        empty = sampler.denoiser(noise, sigma, *sampler.encoder.encode([""] * COUNT))
    expected = noise - (empty + strengths[:, None, None, None] * (conditional - empty))
    torch.testing.assert_close(torch.stack([row.latents for row in rows]), expected, rtol=1e-4, atol=1e-4)
    if bounds is None:
        assert {*strengths.tolist()} == {scale}
    else:
        assert bounds[0] <= strengths.min() < 3 < 5 < strengths.max() <= bounds[1]


def test_edits_are_drawn_from_their_source_under_both_guidances(config: Config, wide_folder: Path) -> None:
    bounds = {"data__guidance_range": (2.0, 6.0), "data__image_guidance_range": (1.0, 2.0)}
    changed = settings(config, wide_folder, **bounds, data__tasks__generate=0, data__tasks__inpaint=0)
    rows, sampler = made(changed), Sampler(str(wide_folder), precision="fp32", device="cpu")
    reader = reader_settings(changed.data)
    items = list(numbered_rows(changed.data, 0, count=COUNT).items(reader))
    with torch.no_grad():
        sources = torch.cat([sampler.autoencoder.encode(pixels(item.source)) for item in items])
        prompt = sampler.encoder.encode([item.prompt for item in items])._replace(task_channels=edit_channels(sources))
        noise = per_step((16, 8, 8), seed=config.data.seed, sample_ids=range(COUNT), device="cpu")(0)
        velocity = guided_velocity(
            sampler.denoiser,
            noise,
            sigma=torch.ones(COUNT),
            prompt=prompt,
            negative_prompt=sampler.encoder.encode([""]),
            guidance_scale=torch.tensor([row.text_guidance for row in rows]),
            image_guidance_scale=torch.tensor([row.image_guidance for row in rows]),
        )
    torch.testing.assert_close(torch.stack([row.latents for row in rows]), noise - velocity, rtol=0, atol=2e-2)
    torch.testing.assert_close(
        torch.stack([row.source for row in rows if row.source is not None]), sources, rtol=0, atol=3e-3
    )
    strengths = torch.tensor([[row.text_guidance, row.image_guidance] for row in rows])
    assert len(strengths.unique(dim=0)) == COUNT
    assert strengths.min(dim=0).values.tolist() >= [2, 1]
    assert strengths.max(dim=0).values.tolist() <= [6, 2]


def test_real_rows_are_encoded_pictures(config: Config, wide_folder: Path) -> None:
    changed = settings(config, wide_folder, data__origin="real")
    rows = made(changed)
    encode = Sampler(str(wide_folder), precision="fp32", device="cpu").autoencoder.encode
    items = {item.id: item for item in numbered_rows(changed.data, 0, count=COUNT).items(reader_settings(changed.data))}
    for row in rows:
        assert row.real
        assert row.prompt == items[row.id].prompt
        with torch.no_grad():
            torch.testing.assert_close(row.latents[None], encode(pixels(items[row.id].image)), rtol=0, atol=3e-3)


def test_pictures_of_files_come_on_top_of_prompts(config: Config, wide_folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        (pictures / f"{number}.png").write_bytes(png(64, 64, seed=number))
    lines = [f'{{"file_name": "{number}.png", "text": "a cat", "source": "{number}.png"}}' for number in range(3)]
    lines += [f'{{"file_name": "{number}.png", "text": "a dog"}}' for number in range(3, 6)]
    (pictures / "metadata.jsonl").write_text("\n".join(lines))
    (tmp_path / "prompts.txt").write_text("a red apple\na blue cat\n")
    sources = {"data__source": str(pictures), "data__prompts": str(tmp_path / "prompts.txt")}
    rows = made(settings(config, wide_folder, **sources, data__num_latents=5))
    assert [row.prompt for row in rows if row.task == "generate"] == ["a red apple", "a blue cat"] * 2 + ["a red apple"]
    assert [row.prompt for row in rows if row.task == "edit"] == ["a cat"] * 3
    assert [row.prompt for row in rows if row.task == "inpaint"] == ["a dog"] * 3
    assert len({row.id for row in rows}) == 11


def test_numbered_rows_are_those_of_the_stored_set(config: Config, wide_folder: Path) -> None:
    changed = settings(config, wide_folder)
    stored = {row.id: row for row in made(changed)}
    fresh = Teacher(changed).numbered(range(6, 12), size=(64, 64))
    assert [row.id for row in fresh] == list(range(6, 12))
    for row in fresh:
        assert (row.task, row.prompt) == (stored[row.id].task, stored[row.id].prompt)
        torch.testing.assert_close(row.latents, stored[row.id].latents, rtol=0, atol=3e-3)


def test_prompts_draw_their_size(config: Config, tiny_folder: Path) -> None:
    generate = {"data__tasks__generate": 1, "data__tasks__edit": 0, "data__tasks__inpaint": 0}
    rows = made(settings(config, tiny_folder, **generate, data__buckets=((64, 64), (64, 96))))
    assert {row.latents.shape for row in rows} == {(16, 8, 8), (16, 8, 12)}


def test_embeddings_may_be_left_out_and_broken_pictures_are(config: Config, wide_folder: Path) -> None:
    teacher = Teacher(settings(config, wide_folder, data__store_prompt_embeds=False))
    broken = Item(0, False, "inpaint", "a cat", image=b"no picture", source=b"", mask=b"")
    drawn = Item(1, False, "generate", "a cat", image=b"", source=b"", mask=b"")
    (row,) = teacher.rows([broken, drawn])
    assert (row.id, row.prompt, row.prompt_embeds, row.pooled_prompt_embeds) == (1, "a cat", None, None)
