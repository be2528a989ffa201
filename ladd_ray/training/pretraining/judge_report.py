"""How far the judge can be trusted: what it reads from pictures whose content is known, `accuracy.json`.

Shapes: n pictures, h w pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from ladd_ray.data import stickers
from ladd_ray.data.stickers import Scene
from ladd_ray.evaluation.judge import placed, prompt_scores, verdict
from ladd_ray.models.autoencoder import Autoencoder, to_uint8
from ladd_ray.models.judge import Judge, Reading

ACCURACY_SEED = 0
"""Of the held-out scenes that are read; the judge learned from another sequence."""


def write_accuracy(folder: Path, *, autoencoder: Autoencoder | None, count: int = 1000) -> list[str]:
    """Read `count` held-out scenes of each frame, write `accuracy.json` beside the weights, and say it in lines.

    Pictures are the world's own, and what the autoencoder makes of them where there is one.
    """
    judge = Judge.from_pretrained(folder)
    report: dict[str, dict[str, dict[str, float]]] = {}
    for height, width in stickers.FRAMES:
        scenes = [
            stickers.scene(ACCURACY_SEED, index, split="heldout", height=height, width=width) for index in range(count)
        ]
        for kind, pictures in _pictures(scenes, autoencoder):
            report.setdefault(kind, {})[f"{height}x{width}"] = accuracy(judge.read(pictures), scenes)
    (folder / "accuracy.json").write_text(json.dumps(report, indent=1) + "\n")
    return [
        f"judge, {kind}, {size}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in shares.items())
        for kind, sizes in report.items()
        for size, shares in sizes.items()
    ]


def accuracy(readings: Sequence[Reading], scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of right answers, attribute by attribute, for pictures that show their scenes.

    `object` is of objects: the right concept in the right place; `overall` is the score that real pictures get.
    """
    pairs = list(zip(readings, scenes, strict=True))
    verdicts = [verdict(reading, scene) for reading, scene in pairs]
    score = prompt_scores(readings, scenes)
    return {
        "object": mean(there for pair in pairs for there in placed(*pair)),
        "count": mean(len(reading.objects) == len(scene.objects) for reading, scene in pairs),
        "style": score.style.value,
        "background": score.background.value,
        "relation": mean(one.relation for one in verdicts if one.relation is not None),
        "overall": score.overall,
        "all_right": score.all_right.value,
    }


def _pictures(scenes: list[Scene], autoencoder: Autoencoder | None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    rendered = np.stack([stickers.render(scene) for scene in scenes])
    yield "rendered", rendered
    if autoencoder is not None:
        yield "reconstructed", np.concatenate([_reconstructed(part, autoencoder) for part in _batches(rendered)])


def _batches(pictures: NDArray[np.uint8], size: int = 64) -> list[NDArray[np.uint8]]:
    return [pictures[start : start + size] for start in range(0, len(pictures), size)]


@torch.inference_mode()
def _reconstructed(pictures: NDArray[np.uint8], autoencoder: Autoencoder) -> NDArray[np.uint8]:
    images = rearrange(torch.from_numpy(pictures).float() / 127.5 - 1, "n h w c -> n c h w")
    bytes_: NDArray[np.uint8] = to_uint8(autoencoder.decode(autoencoder.encode(images))).numpy()
    return bytes_
