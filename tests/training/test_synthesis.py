"""The training latents, drawn in this process by the tiny teacher."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from ladd_ray.algorithm.noise import per_step
from ladd_ray.config import Config, override
from ladd_ray.data.latents import INDEX_COLUMN, TENSOR_COLUMNS, read_provenance
from ladd_ray.data.prompts import read_prompts
from ladd_ray.training import synthesis
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.sampler import Sampler
from ladd_ray.training.synthesis import TeacherActor, ensure_latents

COUNT, BATCH = 10, 4


def small(config: Config, **changes: object) -> Plan:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    sizes = {"data.num_latents": COUNT, "data.synthesis_batch_size": BATCH}
    return prepare(override(config, {**sizes, **dotted}))


def rows_of(folder: Path) -> pa.Table:
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def columns(folder: Path) -> dict[str, torch.Tensor]:
    table = rows_of(folder)
    return {
        name: torch.from_numpy(table[name].combine_chunks().to_numpy(zero_copy_only=False).copy())
        for name in (INDEX_COLUMN, *TENSOR_COLUMNS)
    }


def test_every_prompt_becomes_a_row(config: Config) -> None:
    plan = small(config)
    folder = ensure_latents(plan)
    assert folder == plan.latents
    assert [path.name for path in sorted(folder.glob("*.parquet"))] == [
        f"{start:08d}.parquet" for start in range(0, COUNT, BATCH)
    ]
    rows = columns(folder)
    assert rows[INDEX_COLUMN].tolist() == list(range(COUNT))
    assert rows["latents"].shape == (COUNT, 16, 8, 8)
    assert rows["prompt_embeds"].shape[0::2] == (COUNT, 64)
    assert rows["pooled_prompt_embeds"].shape == (COUNT, 64)
    assert rows["latents"].dtype == torch.float16
    prompts = read_prompts("stickers", COUNT, split="train", seed=config.data.seed)
    assert rows_of(folder)["prompt"].to_pylist() == prompts


def test_a_finished_folder_says_how_it_was_drawn_and_is_used_again(config: Config) -> None:
    plan = small(config)
    folder = ensure_latents(plan)
    assert read_provenance(folder) == plan.provenance
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert ensure_latents(plan) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_a_killed_process_left_is_drawn_anew(config: Config) -> None:
    plan = small(config)
    unfinished = plan.latents.with_name(plan.latents.name + ".unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "00000000.parquet").write_text("half a file")
    folder = ensure_latents(plan)
    assert len(columns(folder)[INDEX_COLUMN]) == COUNT
    assert not unfinished.exists()


def test_two_runs_that_want_the_same_latents_draw_them_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small(config)
    drawn = []

    def draw(*arguments: object) -> None:
        drawn.append(arguments)
        draw_here(*arguments)

    draw_here = synthesis._draw_here
    monkeypatch.setattr(synthesis, "_draw_here", draw)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(ensure_latents, [plan, plan]))
    assert folders == [plan.latents, plan.latents]
    assert len(drawn) == 1


def test_latents_do_not_depend_on_the_batches_they_are_drawn_in(config: Config, tmp_path: Path) -> None:
    """Nor on when: the noise of a row follows from its number."""
    first = columns(ensure_latents(small(config)))
    other = small(config, run__directory=str(tmp_path / "other"), data__synthesis_batch_size=7)
    second = columns(ensure_latents(other))
    for name, rows in first.items():
        torch.testing.assert_close(rows, second[name], rtol=2e-3, atol=2e-3, msg=name)


def test_other_seed_other_pictures(config: Config) -> None:
    first = columns(ensure_latents(small(config)))["latents"]
    second = columns(ensure_latents(small(config, data__seed=1)))["latents"]
    assert (first - second).abs().mean() > 0.1


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_teacher_is_guided_as_configured(config: Config, guidance: float) -> None:
    """One Euler step from noise: x0 = noise - v, with v = v_empty + guidance (v_prompt - v_empty)."""
    plan = small(config, data__guidance_scale=guidance, data__allow_unguided=True, data__num_inference_steps=1)
    prompts = read_prompts("stickers", 2, split="train", seed=config.data.seed)
    sampler = Sampler(config.teacher.path, precision="fp32", device="cpu")
    noise = per_step((16, 8, 8), seed=config.data.seed, sample_ids=[0, 1], device="cpu")(0)
    sigma = torch.ones(2)
    with torch.no_grad():
        conditional = sampler.denoiser(noise, sigma, *sampler.encoder.encode(prompts))
        empty = sampler.denoiser(noise, sigma, *sampler.encoder.encode(["", ""]))
    expected = noise - (empty + guidance * (conditional - empty))
    table = {"index": torch.arange(2).numpy(), "prompt": prompts}
    drawn = TeacherActor(plan.config, plan.provenance)(table)["latents"]
    torch.testing.assert_close(torch.from_numpy(drawn).float(), expected, rtol=2e-3, atol=2e-3)
