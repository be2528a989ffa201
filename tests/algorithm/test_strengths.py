"""Strengths as features, and a student that learns to follow a knob because its judge knows where it stands."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import torch
from torch import Tensor, nn

from ladd_ray.algorithm import ladd
from ladd_ray.algorithm.discriminator import DiscriminatorHeads
from ladd_ray.algorithm.strengths import (
    NUM_FEATURES,
    IdleKnobs,
    judged_prompt,
    leading_strengths,
    strength_features,
)
from ladd_ray.algorithm.tasks import edit_channels, generate_channels, inpaint_channels
from ladd_ray.config import DiscriminatorConfig, NoiseConfig
from ladd_ray.interfaces import Condition, LatentBatch

from .networks import HIDDEN, POOLED, TinyDenoiser, TinyFeatures, prompts

NOISE = NoiseConfig(levels=(1.0,), probabilities=(1.0,), warmup_probabilities=(1.0,), renoise_mean=-2.0)
CONFIG = DiscriminatorConfig(width=16, depth=1)
STEPS, ROWS = 80, 32
SEEDS = range(5)
WEAK, STRONG = 1.5, 6.0
PLACES = {WEAK: -1.5, STRONG: 1.5}
"""What a teacher of this strength draws."""


class SteeredDenoiser(nn.Module):
    """A tiny student with an embedding of its strengths, silent at start."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyDenoiser()
        self.embedding = nn.Linear(NUM_FEATURES, POOLED)
        nn.init.zeros_(self.embedding.weight)

    def forward(
        self, x_sigma: Tensor, sigma: Tensor, prompt_embeds: Tensor, pooled: Tensor, _task: None, strengths: Tensor
    ) -> Tensor:
        return self.inner(x_sigma, sigma, prompt_embeds, pooled + self.embedding(strength_features(strengths)))


def batch_at(strengths: Tensor, *, first_id: int) -> LatentBatch:
    """Two points of the plane, one for each strength."""
    rows = len(strengths)
    x0 = torch.stack([torch.where(strengths > 3, PLACES[STRONG], PLACES[WEAK]), torch.full((rows,), 0.5)], dim=1)
    prompt = prompts(rows)._replace(strengths=torch.stack([strengths, torch.ones(rows)], dim=1))
    return LatentBatch(x0[:, :, None, None], prompt, tuple(range(first_id, first_id + rows)))


def train(student: SteeredDenoiser, *, heads_know: bool) -> None:
    features = TinyFeatures()
    pooled_size = POOLED + NUM_FEATURES * heads_know
    heads = DiscriminatorHeads.from_config(CONFIG, HIDDEN, pooled_size=pooled_size, num_blocks=2)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.0, 0.99)) for network in (student, heads)]
    for step in range(STEPS):
        strengths = torch.tensor([WEAK, STRONG]).repeat(ROWS // 2)
        batch = batch_at(strengths, first_id=step * ROWS)
        drawn = ladd.draw(batch, NOISE, step=step, seed=0)
        x0_pred = ladd.generate(student, batch, drawn=drawn)
        judged = ladd.judge(features, x0_pred, batch=batch, drawn=drawn, config=CONFIG)
        if not heads_know:
            judged = replace(judged, pooled_prompt_embeds=batch.prompt.pooled_prompt_embeds)
        ladd.discriminator_loss(heads, judged, config=CONFIG).loss.backward()
        optimizers[1].step()
        optimizers[1].zero_grad()
        heads.requires_grad_(False)
        ladd.student_loss(heads, judged, config=CONFIG).loss.backward()
        heads.requires_grad_(True)
        optimizers[0].step()
        optimizers[0].zero_grad()


@torch.no_grad()
def distance_between_strengths(student: SteeredDenoiser) -> float:
    """How far the drawn points move along the first axis when the knob is turned, from the same noise."""
    means = []
    for strength in (WEAK, STRONG):
        batch = batch_at(torch.full((300,), strength), first_id=0)
        points = ladd.generate(student, batch, drawn=ladd.draw(batch, NOISE, step=0, seed=1))
        means.append(points[:, 0].mean().item())
    return means[1] - means[0]


def distance_after_training(seed: int, *, heads_know: bool) -> float:
    torch.manual_seed(seed)
    student = SteeredDenoiser()
    assert distance_between_strengths(student) == 0
    train(student, heads_know=heads_know)
    return distance_between_strengths(student)


def test_a_student_follows_a_knob_that_its_judge_knows() -> None:
    # Single trainings differ, and one of them also between processors: the median of several does not.
    told = [distance_after_training(seed, heads_know=True) for seed in SEEDS]
    untold = [distance_after_training(seed, heads_know=False) for seed in SEEDS]
    assert median(told) > 2, "targets lie 3 apart"
    assert median(untold) < 1, "a judge that does not know where the knob stands cannot ask for it"


def test_features_tell_strengths_apart_also_where_there_is_none() -> None:
    values = torch.tensor([0.0, 1.0, 1.5, 3.0, 7.5])
    features = strength_features(torch.stack([values, values.flip(0)], dim=1))
    assert features.shape == (5, NUM_FEATURES)
    assert features.isfinite().all()
    assert torch.pdist(features).min() > 0.3
    alone = strength_features(torch.tensor([[1.5, 1.5]]))[0]
    assert torch.equal(alone[: NUM_FEATURES // 2], alone[NUM_FEATURES // 2 :])


def test_heads_are_told_strengths_where_there_are_any() -> None:
    plain = prompts(3)
    assert torch.equal(judged_prompt(plain), plain.pooled_prompt_embeds)
    told = plain._replace(strengths=torch.tensor([[1.5, 1.0], [6.0, 1.0], [1.5, 2.5]]))
    loud = told._replace(pooled_prompt_embeds=1000 * told.pooled_prompt_embeds)
    assert judged_prompt(told).shape == (3, POOLED + NUM_FEATURES)
    # Text towers differ in scale: a loud one must not drown the strengths.
    torch.testing.assert_close(judged_prompt(loud), judged_prompt(told), rtol=0, atol=1e-3)
    assert torch.pdist(judged_prompt(told)[:, POOLED:]).min() > 0.3


RANGES = IdleKnobs(text=(1.5, 6.0), image=(1.0, 2.5), seed=7)
REAL = torch.tensor([False, False, True, True])


def condition_of_tasks() -> Condition:
    """Generate, edit, inpaint, and a real edit."""
    latents, source, hole = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    channels = [generate_channels(latents), edit_channels(source), inpaint_channels(source, hole)]
    led = torch.tensor([[4.0, 1.0], [3.0, 2.0], [1.0, 1.0], [1.0, 1.0]])
    return prompts(4)._replace(task_channels=torch.cat([*channels, edit_channels(source)]), strengths=led)


def told(ids: tuple[int, ...], ranges: IdleKnobs = RANGES) -> Tensor:
    strengths = ranges.tell(condition_of_tasks(), real=REAL, sample_ids=ids).strengths
    assert strengths is not None
    return strengths


def test_idle_knobs_stand_anywhere_and_the_others_where_the_target_was_drawn() -> None:
    found = torch.stack([told(tuple(range(4 * step, 4 * step + 4))) for step in range(200)])
    assert (found[:, 0, 0] == 4).all() and (found[:, 1] == torch.tensor([3.0, 2.0])).all()
    idle = {"text": found[:, 2:, 0], "image": found[:, [0, 2, 3], 1]}
    for (low, high), values in ((RANGES.text, idle["text"]), (RANGES.image, idle["image"])):
        assert values.min() >= low and values.max() <= high
        assert values.max() - values.min() > 0.9 * (high - low)
    assert abs(torch.corrcoef(torch.stack([found[:, 2, 0], found[:, 2, 1]]))[0, 1]) < 0.3


def test_what_idle_knobs_say_follows_from_seed_and_sample() -> None:
    whole = told((4, 5, 6, 7))
    assert torch.equal(whole, told((4, 5, 6, 7)))
    assert torch.equal(whole[2:], told((0, 1, 6, 7))[2:])
    assert not torch.equal(whole[2:], told((4, 5, 6, 7), replace(RANGES, seed=8))[2:])


def test_what_leads_a_target_can_be_told_from_what_is_said() -> None:
    prompt = RANGES.tell(condition_of_tasks(), real=REAL, sample_ids=(0, 1, 2, 3))
    batch = LatentBatch(torch.zeros(4, 2, 4, 4), prompt, (0, 1, 2, 3), real=REAL)
    assert torch.equal(leading_strengths(batch, otherwise=torch.ones(4, 2)), condition_of_tasks().strengths)
    otherwise = torch.full((2, 2), 1.5)
    drawn = replace(batch, prompt=prompt.rows(slice(0, 2)), real=None)
    assert leading_strengths(drawn, otherwise=otherwise).tolist() == [[4.0, 1.5], [3.0, 2.0]]
    told_none = replace(drawn, prompt=drawn.prompt._replace(strengths=None))
    assert torch.equal(leading_strengths(told_none, otherwise=otherwise), otherwise)
