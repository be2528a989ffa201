"""The whole step as the training loop runs it, on latents that are one of two points of the plane."""

from statistics import median

import torch
from torch import Tensor

from ladd_ray.algorithm import ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.config import DiscriminatorConfig, NoiseConfig
from ladd_ray.interfaces import LatentBatch

from .networks import HIDDEN, POOLED, TinyDenoiser, TinyFeatures, prompts

MODES = torch.tensor([[1.5, 0.5], [-1.5, 0.5]])
NOISE = NoiseConfig(levels=(1.0,), probabilities=(1.0,), warmup_probabilities=(1.0,), renoise_mean=-2.0)
CONFIG = DiscriminatorConfig(width=16, depth=1)
STEPS, ROWS = 60, 32


def two_points(first_id: int, rows: int) -> LatentBatch:
    ids = tuple(range(first_id, first_id + rows))
    return LatentBatch(MODES[torch.tensor(ids) % 2][:, :, None, None], prompts(rows), ids)


def train(student: TinyDenoiser) -> None:
    features = TinyFeatures()
    heads = DiscriminatorHeads.from_config(CONFIG, HIDDEN, pooled_size=POOLED, num_blocks=2)
    student_optimizer, heads_optimizer = (
        torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.0, 0.99)) for network in (student, heads)
    )
    for step in range(STEPS):
        batch = two_points(step * ROWS, ROWS)
        drawn = ladd.draw(batch, NOISE, step=step, seed=0)
        x0_pred = ladd.generate(student, batch, drawn=drawn)
        judged = ladd.judge(features, x0_pred, batch=batch, drawn=drawn, config=CONFIG)
        ladd.discriminator_loss(heads, judged, config=CONFIG).loss.backward()
        heads_optimizer.step()
        heads_optimizer.zero_grad()
        heads.requires_grad_(False)
        ladd.student_loss(heads, judged, config=CONFIG).loss.backward()
        heads.requires_grad_(True)
        student_optimizer.step()
        student_optimizer.zero_grad()


@torch.no_grad()
def draw_points(student: TinyDenoiser) -> Tensor:
    batch = two_points(0, 500)
    return ladd.generate(student, batch, drawn=ladd.draw(batch, NOISE, step=0, seed=1)).flatten(1)


def points_after_training(seed: int) -> tuple[float, float, float, float]:
    """Mean and standard deviation across the line through both points; spread along it, and the share of one point."""
    torch.manual_seed(seed)
    student = TinyDenoiser()
    assert draw_points(student).std(dim=0)[1] > 0.8, "an untrained student returns its noise"
    train(student)
    along, across = draw_points(student).unbind(dim=1)
    return across.mean().item(), across.std().item(), along.std().item(), (along > 0).float().mean().item()


def test_student_learns_two_points_from_noise() -> None:
    # Single trainings differ, and one of them also between processors: the median of several does not.
    mean_across, across, along, right = map(median, zip(*map(points_after_training, range(5)), strict=True))
    assert across < 0.5, "both points lie on one line"
    assert abs(mean_across - 0.5) < 0.4
    assert along > 1.1, "the two points lie apart"
    assert 0.2 < right < 0.8, "no point is dropped"
