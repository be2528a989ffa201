"""Exact targets score fully, untouched sources fail, and numbers outside the mask are in closed form."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ladd_ray.data.stickers import Scene, Sticker, render
from ladd_ray.evaluation.judge_edits import edit_scores, inpaint_scores
from ladd_ray.models.judge import Judge

CAT = Sticker("cat", "flat", left=0, top=8, size=32)
SOURCE = Scene((CAT,), "blue", "flat", "a caption", "single", height=64, width=64)
MOVED = replace(SOURCE, objects=(replace(CAT, left=32),))
REPLACED = replace(SOURCE, objects=(replace(CAT, concept="pizza"),))
TARGETS = [MOVED, REPLACED]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.from_pretrained()


def pictures(*scenes):
    return np.stack([render(scene) for scene in scenes])


def features(images):
    return torch.from_numpy(images.reshape(len(images), -1)).float()


def scored(outputs, judge, *, targets=TARGETS):
    sources = pictures(*[SOURCE] * len(targets))
    changed = (sources != pictures(*targets)).any(axis=-1)
    kinds = ["move", "replace"][: len(targets)]
    return edit_scores(
        outputs, sources, targets=targets, changed=changed, kinds=kinds, read=judge.read, features=features
    )


def test_exact_targets_score_fully(judge):
    score = scored(pictures(*TARGETS), judge)
    assert (score.success.value, score.placed.value, score.rest_psnr) == (1, 1, 60)
    assert 0 <= score.feature_distance < 1e-9
    assert score.source_distance > 0.01
    assert json.loads(json.dumps(score.to_dict()))["success"]["n"] == 2


def test_doing_nothing_fails_even_a_move(judge):
    score = scored(pictures(SOURCE, SOURCE), judge)
    assert (score.success.value, score.placed.value, score.rest_psnr) == (0, 0, 60)
    assert score.feature_distance == score.source_distance


def test_facts_suffice_where_they_differ_from_the_source(judge):
    elsewhere = replace(REPLACED, objects=(replace(REPLACED.objects[0], left=32, top=32),))
    score = scored(pictures(elsewhere), judge, targets=[REPLACED])
    assert (score.success.value, score.placed.value) == (1, 0)


def test_each_kind_has_its_own_share_and_sizes_may_differ(judge):
    flat = replace(SOURCE, width=96)
    targets = [replace(flat, background="pink"), REPLACED]
    sources = [render(flat), render(SOURCE)]
    score = edit_scores(
        [render(targets[0]), render(SOURCE)], sources, targets=targets, kinds=["background", "replace"],
        changed=[(source != render(target)).any(axis=-1) for source, target in zip(sources, targets, strict=True)],
        read=judge.read, features=lambda images: features(images)[:, :1000],
    )  # fmt: skip
    assert {kind: (part.value, part.n) for kind, part in score.by_kind.items()} == {
        "background": (1, 1),
        "replace": (0, 1),
    }
    assert {size: part.value for size, part in score.by_size.items()} == {"64x64": 0, "64x96": 1}
    assert score.success.value == 0.5


def test_a_changed_rest_costs_decibels(judge):
    brighter = pictures(*TARGETS).astype(np.int16) + 5
    score = scored(brighter.clip(0, 255).astype(np.uint8), judge)
    assert score.rest_psnr == pytest.approx(20 * np.log10(255 / 5), abs=0.1)


def test_nothing_is_left_outside_a_whole_change(judge):
    source, targets = pictures(SOURCE), [replace(SOURCE, background="pink")]
    whole = np.ones((1, 64, 64), dtype=bool)
    score = edit_scores(
        pictures(*targets), source, targets=targets, changed=whole, kinds=["background"], read=judge.read,
        features=features,
    )  # fmt: skip
    assert score.rest_psnr is None
    assert score.success.value == 1


def test_filled_holes_are_read_and_the_rest_compared(judge):
    masks = np.zeros((2, 64, 64), dtype=bool)
    masks[:, :48, :40] = True
    outputs = pictures(SOURCE, replace(SOURCE, objects=()))
    score = inpaint_scores(outputs, originals=[SOURCE, SOURCE], masks=masks, kinds=["box", "half"], read=judge.read)
    assert (score.success.value, score.rest_difference) == (0.5, 0)
    assert {kind: part.value for kind, part in score.by_kind.items()} == {"box": 1, "half": 0}
    outputs[0, 60, 60, 1] ^= 16
    outputs[1, 0, 0, 0] ^= 64
    score = inpaint_scores(outputs, originals=[SOURCE, SOURCE], masks=masks, kinds=["box", "half"], read=judge.read)
    assert score.rest_difference == 16


def test_sizes_must_agree(judge):
    masks = np.zeros((1, 64, 64), dtype=bool)
    with pytest.raises(ValueError, match="one picture and one mask"):
        inpaint_scores(pictures(SOURCE, SOURCE), originals=[SOURCE], masks=masks, kinds=["box"], read=judge.read)
    with pytest.raises(ValueError, match="at least one"):
        inpaint_scores(pictures(SOURCE), originals=[], masks=masks, kinds=[], read=judge.read)
