"""Spaces: what they hold, and what is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ladd_ray.config import override
from ladd_ray.recipes import stickers
from ladd_ray.sweep_records import RangeRecord
from ladd_ray.sweep_space import grid_points, parse_space, require_fit, resolved
from tune.spaces import GRIDS, SPACES, find_space

NUM_BLOCKS = 8


def require(space: dict[str, Any]) -> None:
    require_fit(parse_space(space), stickers(), num_blocks=NUM_BLOCKS)


@pytest.mark.parametrize("space", [*SPACES.values(), *GRIDS.values()])
def test_built_in_spaces_fit(space: dict[str, Any]) -> None:
    require(space)


def test_the_noise_grid_is_the_papers_and_more_than_one_seed_makes_it_a_study() -> None:
    points = grid_points(parse_space(GRIDS["noise"]))
    assert len(points) == 15
    assert {"noise.renoise_mean": 1.0, "noise.renoise_std": 1.0} in points
    shifted = {point["noise.renoise_mean"] for point in grid_points(parse_space(GRIDS["noise_shifted"]))}
    assert shifted == {-2.5, -2.0, -1.5, -1.0, 0.0}


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        (
            {"noise.renoise_men": [0]},
            "unknown setting 'noise.renoise_men' .* mean noise.renoise_mean",
        ),
        ({"student.learning_rate": [1e-4]}, "unknown setting"),
        ({"noise.renoise_std": [0.5, -1]}, "refuses noise.renoise_std = -1"),
        ({"discriminator.kernel_size": [3, 4]}, "refuses discriminator.kernel_size = 4"),
        ({"noise.probabilities": [[0.7, 0.3]]}, "2 entries for 4 levels"),
        ({"student.lr": {"uniform": [-1, 1]}}, "refuses student.lr = -1"),
        ({"data.guidance_scale": [1.5, 3.0]}, "the same in all trials"),
        ({"run.steps": [100, 200]}, "the same in all trials"),
        ({"run.seed": [0, 1]}, "the same in all trials"),
        ({"student.lr": []}, "no dimension"),
        ({"student.lr": 1e-4}, "no dimension"),
        ({"discriminator.width": [32, 64, 32.0]}, r"discriminator\.width = \[32, 64, 32\.0\] has 32\.0 twice"),
        ({"discriminator.condition_on_sigma": [True, False, 1]}, "has 1 twice"),
        ({"discriminator.tapped_blocks": [[0, 1], "all", [0, 1]]}, "list every value once"),
        ({"student.lr": {"log_uniform": [0, 1]}}, "with low above 0"),
        ({"student.lr": {"uniform": [2, 1]}}, "low must be below high, and 2 is not below 1"),
        ({"student.lr": {"normal": [0, 1]}}, "no dimension"),
        ({"student.lr": {"uniform": ["low", 1]}}, "no dimension"),
        ({"student.lr": {"uniform": 1}}, "no dimension"),
        ({}, "space is empty"),
    ],
)
def test_bad_spaces_are_refused(space: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        require(space)


def test_values_that_only_fit_apart_are_refused() -> None:
    space = {"distillation.guidance_scale": [2.0, 1.0], "distillation.image_guidance_scale": [1.0, 1.5]}
    with pytest.raises(ValueError, match="needs text guidance too"):
        require(space)


def test_a_range_is_no_grid() -> None:
    space = parse_space({"student.lr": {"log_uniform": [1e-5, 1e-4]}})
    assert space == {"student.lr": RangeRecord(kind="log_uniform", low=1e-5, high=1e-4)}
    with pytest.raises(ValueError, match=r"student\.lr is a range, which no grid can take whole"):
        grid_points(space)


@pytest.mark.parametrize(
    ("name", "num_blocks", "blocks"),
    [("all", 8, None), ("half", 8, (1, 3, 5, 7)), ("half", 5, (0, 2, 4)), ("last", 8, (7,)), ("half", 1, (0,))],
)
def test_named_blocks_become_numbers(name: str, num_blocks: int, blocks: tuple[int, ...] | None) -> None:
    changes = resolved({"discriminator.tapped_blocks": name}, num_blocks=num_blocks)
    assert override(stickers(), changes).discriminator.tapped_blocks == blocks


def test_other_values_stay_as_they_are() -> None:
    point = {"discriminator.tapped_blocks": [0, 3], "discriminator.loss": "hinge"}
    assert resolved(point, num_blocks=NUM_BLOCKS) == point


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.json", json.dumps({"student.lr": [1e-4, 2e-4]})),
        ("mine.yaml", "student.lr: [1.0e-4, 2.0e-4]\n"),
    ],
)
def test_a_space_of_the_users_own(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    space = find_space(str(tmp_path / name), grid=False)
    assert space == {"student.lr": [1e-4, 2e-4]}
    require(space)


def test_files_that_are_no_space(tmp_path: Path) -> None:
    broken, listed = tmp_path / "broken.json", tmp_path / "listed.yaml"
    broken.write_text("{")
    listed.write_text("- student.lr\n")
    with pytest.raises(ValueError, match="cannot be read"):
        find_space(str(broken), grid=False)
    with pytest.raises(ValueError, match="must map settings to their values"):
        find_space(str(listed), grid=False)
    with pytest.raises(ValueError, match="no space and no file named nose: known are noise, heads, training, all"):
        find_space("nose", grid=False)
    with pytest.raises(ValueError, match="no grid and no file named all: known are noise, noise_shifted, heads"):
        find_space("all", grid=True)
