import pytest
import torch

from ladd_ray.algorithm import levels, noise
from ladd_ray.config import NoiseConfig

CONFIG = NoiseConfig(warmup_steps=500)


def shares(step: int) -> list[float]:
    uniform = noise.uniform(seed=0, purpose="student_level", sample_ids=range(8000))
    drawn = levels.student_levels(CONFIG, uniform, step=step)
    counts = [(drawn == level).float().mean().item() for level in CONFIG.levels]
    assert sum(counts) == pytest.approx(1, abs=1e-6)
    return counts


@pytest.mark.parametrize("step", [0, 499])
def test_warmup_draws_the_low_levels_only(step: int) -> None:
    assert shares(step) == pytest.approx([0, 0, 0.5, 0.5], abs=0.02)
    assert shares(step)[:2] == [0, 0]


@pytest.mark.parametrize("step", [500, 10_000])
def test_then_mostly_pure_noise(step: int) -> None:
    assert shares(step) == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=0.02)


@pytest.mark.parametrize("step", [0, 500])
def test_the_ends_of_the_unit_interval_have_a_level_with_a_chance(step: int) -> None:
    ends = torch.tensor([0.0, 1 - 2**-24])
    first, last = levels.student_levels(CONFIG, ends, step=step).tolist()
    assert first == (0.5 if step == 0 else 1.0)
    assert last == 0.25


def test_judge_looks_at_logit_normal_levels() -> None:
    config = NoiseConfig(renoise_mean=2.0, renoise_std=0.5)
    sigma = levels.renoise_levels(config, torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(torch.logit(sigma), torch.tensor([1.5, 2.0, 2.5]))


@pytest.mark.parametrize(
    ("num_steps", "visited"), [(1, (1,)), (2, (1, 0.5)), (3, (1, 0.75, 0.5)), (4, (1, 0.75, 0.5, 0.25))]
)
def test_sampler_visits_trained_levels(num_steps: int, visited: tuple[float, ...]) -> None:
    assert levels.sampling_levels(CONFIG.levels, num_steps) == visited


def test_every_number_of_steps_starts_at_noise_and_visits_each_level_once() -> None:
    trained = tuple(1 - index / 7 for index in range(7))
    for num_steps in range(1, 8):
        visited = levels.sampling_levels(trained, num_steps)
        assert visited[0] == 1
        assert len(set(visited)) == num_steps
        assert set(visited) <= set(trained)


@pytest.mark.parametrize("num_steps", [0, 5])
def test_more_steps_than_levels_are_refused(num_steps: int) -> None:
    with pytest.raises(ValueError, match="use 1 to 4"):
        levels.sampling_levels(CONFIG.levels, num_steps)
