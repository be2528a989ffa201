"""The stage "judge": trains the network that verifies pictures of the embedded world.

It is the measuring instrument, so it may see every drawing; see `judge_scenes` for what keeps it honest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ladd_ray.data import stickers
from ladd_ray.models.judge import Judge, JudgeShape, Maps
from ladd_ray.training.pretraining.fit import fit
from ladd_ray.training.pretraining.judge_scenes import JudgeBatch, judge_batch
from ladd_ray.training.pretraining.settings import PretrainConfig

NOTHING_WEIGHT = 0.1
"""Of a cell without an object, beside 1 for all cells of one object together."""


def untrained_judge() -> Judge:
    """A judge with the world's words, which at first sees nothing anywhere."""
    shape = JudgeShape(tuple(stickers.CONCEPTS), tuple(stickers.STYLES), tuple(stickers.BACKGROUNDS))
    judge = Judge(shape)
    bias = judge.cells[-1].bias
    assert isinstance(bias, nn.Parameter)
    with torch.no_grad():
        bias[len(shape.concepts)] += 5
    return judge


def train_judge(config: PretrainConfig) -> Judge:
    """A judge trained on random pictures of all three frames."""
    settings = config.judge
    torch.manual_seed(config.seed)
    judge = untrained_judge().to(config.device)

    def loss() -> tuple[Tensor, dict[str, float]]:
        batch = judge_batch(settings.batch_size)
        images = batch.images.to(config.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.bf16):
            maps = judge(images)
        return judge_loss(Maps(*(part.cpu() for part in maps)), batch)

    return fit(
        judge, loss, name="judge", settings=settings, directory=config.root,
        seed=config.seed, checkpoint_every_s=config.checkpoint_every_s,
    )  # fmt: skip


def judge_loss(maps: Maps, batch: JudgeBatch) -> tuple[Tensor, dict[str, float]]:
    """Sum of the losses per object (concept, style, square) and per picture (background), and its parts."""
    seen = batch.weights > 0
    num_objects = batch.weights.sum().clamp(min=1)
    weights = batch.weights + NOTHING_WEIGHT * ~seen
    concept = (weights * F.cross_entropy(maps.concepts, batch.concepts, reduction="none")).sum() / num_objects
    style = (batch.weights * F.cross_entropy(maps.styles, batch.styles, reduction="none")).sum() / num_objects
    error = F.smooth_l1_loss(maps.squares, batch.squares, beta=0.1, reduction="none").sum(dim=1)
    square = torch.where(seen, batch.weights * error, 0).sum() / num_objects
    background = F.cross_entropy(maps.backgrounds, batch.backgrounds, reduction="none")
    background = (background * batch.has_background).sum() / batch.has_background.sum().clamp(min=1)
    right = ((maps.concepts.argmax(dim=1) == batch.concepts) * batch.weights).sum() / num_objects
    metrics = {"concept": concept.item(), "style": style.item(), "square": square.item(),
               "background": background.item(), "accuracy": right.item()}  # fmt: skip
    return concept + style + square + background, metrics
