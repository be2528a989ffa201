import subprocess
import sys

import pytest
import torch

from ladd_ray.algorithm import noise

GOLDEN = (0.980265, 1.340729)
"""The first numbers of one row. A change of these is a change of every run's noise."""


def rows(*sample_ids: int, seed: int = 0, purpose: str = "student") -> torch.Tensor:
    return noise.gaussian((3, 4, 4), seed=seed, purpose=purpose, sample_ids=sample_ids)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    together = rows(5, 6, 7, 8)
    assert torch.equal(torch.cat([rows(5, 6), rows(7, 8)]), together)
    assert torch.equal(rows(7, 100, 5)[[2, 0]], together[[0, 2]])


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    rows(1, 2)
    noise.uniform(seed=0, purpose="student_level", sample_ids=(1, 2))
    assert torch.equal(torch.rand(3), expected)


def test_seed_purpose_and_sample_each_give_other_noise() -> None:
    base = rows(1)
    assert not torch.isclose(base, rows(1, seed=1)).any()
    assert not torch.isclose(base, rows(1, purpose="renoise_fake")).any()
    assert not torch.isclose(base, rows(2)).any()


def test_noise_is_standard_normal_and_uncorrelated_between_neighbours() -> None:
    many = noise.gaussian((64,), seed=0, purpose="student", sample_ids=range(2000))
    assert many.mean().item() == pytest.approx(0, abs=0.01)
    assert many.std().item() == pytest.approx(1, abs=0.01)
    assert (many[1:] * many[:-1]).mean().item() == pytest.approx(0, abs=0.01)


def test_uniform_fills_the_unit_interval() -> None:
    numbers = noise.uniform(seed=0, purpose="student_level", sample_ids=range(4000))
    assert numbers.shape == (4000,)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    share = torch.histc(numbers, bins=4, min=0, max=1) / len(numbers)
    torch.testing.assert_close(share, torch.full((4,), 0.25), rtol=0, atol=0.03)


def test_another_process_draws_the_same_numbers() -> None:
    script = (
        "from ladd_ray.algorithm import noise\n"
        "print(noise.gaussian((32,), seed=3, purpose='student', sample_ids=(11,)).tolist()[0][:2])"
    )
    environment = {"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(sys.path)}
    output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    other = torch.tensor([float(number) for number in output.stdout.decode().strip("[]\n").split(",")])
    here = noise.gaussian((32,), seed=3, purpose="student", sample_ids=(11,))[0, :2]
    torch.testing.assert_close(other, here)
    torch.testing.assert_close(here, torch.tensor(GOLDEN), rtol=0, atol=1e-5)


def test_a_sampler_gets_fresh_noise_at_every_step() -> None:
    noise_for = noise.per_step((2, 4, 4), seed=0, sample_ids=(1, 2))
    assert noise_for(0).shape == (2, 2, 4, 4)
    assert torch.equal(noise_for(1), noise_for(1))
    assert not torch.isclose(noise_for(0), noise_for(1)).any()
