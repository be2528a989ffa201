"""Stored latents: what is written is read, and what cannot be trained on is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from ray.data.extensions import ArrowTensorArray
from torch import Tensor
from torch.nn.functional import interpolate

from ladd_ray.data.latents import (
    Provenance,
    neighbour_correlation,
    read_latents,
    read_provenance,
    require_pictures,
    to_row_arrays,
)
from ladd_ray.interfaces import Condition

COUNT = 6
PROVENANCE = Provenance(
    teacher="0" * 16,
    prompts="1" * 16,
    num_latents=COUNT,
    guidance_scale=3.0,
    num_inference_steps=4,
    shift=1.0,
    height=64,
    width=64,
    seed=0,
    precision="fp32",
)


def pictures(count: int = COUNT) -> Tensor:
    coarse = torch.randn(count, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    return interpolate(coarse, size=(8, 8), mode="bilinear")


def write(folder: Path, latents: Tensor, *, rows: list[int], name: str = "a") -> None:
    """One file with some rows, in their order; embeddings tell the row."""
    picked = latents[rows]
    number = torch.tensor(rows, dtype=torch.float32)
    arrays = to_row_arrays(
        picked, Condition(number.reshape(-1, 1, 1).expand(-1, 2, 3), number.reshape(-1, 1).expand(-1, 5))
    )
    columns = {key: ArrowTensorArray.from_numpy(values) for key, values in arrays.items()}
    folder.mkdir(exist_ok=True)
    parquet.write_table(pa.table({"index": np.array(rows), **columns}), folder / f"{name}.parquet")


def test_rows_come_back_in_order_from_any_file(tmp_path: Path) -> None:
    write(tmp_path, pictures(), rows=[4, 0, 5], name="b")
    write(tmp_path, pictures(), rows=[3, 2, 1], name="a")
    PROVENANCE.write(tmp_path)
    stored = read_latents(tmp_path)
    assert len(stored) == COUNT
    assert torch.equal(stored.latents, pictures().half())
    assert stored.prompt_embeds.shape == (COUNT, 2, 3)
    assert stored.prompt_embeds[:, 0, 0].tolist() == list(range(COUNT))
    assert stored.pooled_prompt_embeds[:, 0].tolist() == list(range(COUNT))


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 6], [0, 1, 2, 3, 4, 5, 0]])
def test_missing_and_double_rows_are_refused(tmp_path: Path, rows: list[int]) -> None:
    write(tmp_path, pictures(COUNT + 1), rows=rows)
    PROVENANCE.write(tmp_path)
    with pytest.raises(ValueError, match=r"should hold rows 0\.\.5 once each"):
        read_latents(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    PROVENANCE.write(tmp_path)
    with pytest.raises(ValueError, match="holds no parquet files"):
        read_latents(tmp_path)


def test_an_unfinished_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, pictures(), rows=list(range(COUNT)))
    with pytest.raises(ValueError, match="holds no finished latents"):
        read_latents(tmp_path)


def test_noise_is_refused(tmp_path: Path) -> None:
    noise = torch.randn(COUNT, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    write(tmp_path, noise, rows=list(range(COUNT)))
    PROVENANCE.write(tmp_path)
    with pytest.raises(ValueError, match="holds noise, not pictures"):
        read_latents(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_refused(value: float) -> None:
    latents = pictures()
    latents[2, 1, 3, 3] = value
    with pytest.raises(ValueError, match="not finite"):
        require_pictures(latents, source="here")


def test_a_constant_is_no_picture() -> None:
    with pytest.raises(ValueError, match="holds noise, not pictures"):
        require_pictures(torch.ones(4, 4, 8, 8), source="here")


def test_correlation_of_an_autoregressive_line() -> None:
    """Of x[k + 1] = 0.8 x[k] + 0.6 noise it is 0.8; a constant offset of a channel does not count."""
    noise = torch.randn(64, 2, 16, 64, generator=torch.Generator().manual_seed(0))
    line = noise.clone()
    for place in range(1, line.shape[-1]):
        line[..., place] = 0.8 * line[..., place - 1] + 0.6 * noise[..., place]
    line[:, 1] += 5
    assert neighbour_correlation(line) == pytest.approx(0.8, abs=0.02)
    assert neighbour_correlation(noise) == pytest.approx(0.0, abs=0.02)


def test_provenance_comes_back(tmp_path: Path) -> None:
    PROVENANCE.write(tmp_path)
    assert read_provenance(tmp_path) == PROVENANCE


def test_provenance_of_another_version_is_refused(tmp_path: Path) -> None:
    PROVENANCE.write(tmp_path)
    path = tmp_path / "provenance.json"
    facts = json.loads(path.read_text())
    del facts["shift"]
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="draw the latents anew"):
        read_provenance(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": "f" * 16},
        {"prompts": "f" * 16},
        {"num_latents": 7},
        {"guidance_scale": 4.0},
        {"num_inference_steps": 5},
        {"shift": 3.0},
        {"height": 48},
        {"width": 48},
        {"seed": 1},
        {"precision": "bf16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_that_shapes_latents_shapes_their_key(change: dict[str, object]) -> None:
    assert replace(PROVENANCE).key == PROVENANCE.key
    assert replace(PROVENANCE, **change).key != PROVENANCE.key
