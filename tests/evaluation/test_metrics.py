"""One interface for all scores: pictures of several sizes stay in order, and the wrong prompt scores near chance."""

import numpy as np
import pytest
import torch

from ladd_ray.data import stickers
from ladd_ray.evaluation.frechet import fid
from ladd_ray.evaluation.manifolds import precision_recall
from ladd_ray.evaluation.metrics import Asked, DistanceScorer, DiversityScorer, JudgeScorer, by_size, features_of
from ladd_ray.evaluation.scores import diversity, kid
from ladd_ray.models.judge import Judge

SIZES = [(64, 64), (64, 96)]


def colours(images):
    """Stands for a feature network: mean, spread and corner of every picture."""
    pixels = torch.from_numpy(images).double() / 255
    return torch.cat([pixels.mean(dim=(1, 2)), pixels.std(dim=(1, 2)), pixels[:, 0, 0]], dim=1)


@pytest.fixture(scope="module")
def scenes():
    return tuple(
        stickers.scene(5, index, split="heldout", height=height, width=width)
        for index, (height, width) in enumerate(SIZES * 16)
    )


@pytest.fixture(scope="module")
def asked(scenes):
    return Asked(tuple(scene.caption for scene in scenes), scenes)


@pytest.fixture(scope="module")
def pictures(scenes):
    return [stickers.render(scene) for scene in scenes]


def test_each_size_is_asked_once_and_answers_keep_their_order():
    pictures = [np.full((size, 8, 3), number, dtype=np.uint8) for number, size in enumerate([8, 16, 8, 24, 16])]
    groups = []

    def answer(images):
        groups.append(images.shape)
        return images[:, 0, 0, 0].tolist()

    assert by_size(pictures, answer) == [0, 1, 2, 3, 4]
    assert groups == [(2, 8, 8, 3), (2, 16, 8, 3), (1, 24, 8, 3)]


def test_distances_are_those_of_the_features(pictures, asked):
    reference, found = features_of(pictures[:20], colours), features_of(pictures[20:], colours)
    scores = DistanceScorer(reference, colours)(pictures[20:], asked)
    assert scores == {
        "kid": kid(reference, found).to_dict(),
        "fid": fid(reference, found).to_dict(),
        "precision_recall": precision_recall(reference, found).to_dict(),
    }
    assert DistanceScorer(reference, colours, wanted=("fid",))(pictures[20:], asked).keys() == {"fid"}


def test_diversity_takes_the_seeds_of_a_prompt_from_one_row(pictures, asked):
    scores = DiversityScorer(colours, num_seeds=4)(pictures, asked)
    expected = diversity(features_of(pictures, colours).reshape(8, 4, -1)).to_dict()
    assert scores == {"diversity": expected}


def test_the_judge_tells_true_prompts_from_shuffled_ones(pictures, asked):
    scorer = JudgeScorer(Judge.from_pretrained())
    true, shuffled = scorer(pictures, asked)["judge"], scorer(pictures, asked.shuffled())["judge"]
    assert true["overall"] > 0.9
    assert shuffled["overall"] < 0.15


def test_shuffling_moves_prompts_and_scenes_together(asked):
    shuffled = asked.shuffled()
    assert shuffled.prompts == tuple(scene.caption for scene in shuffled.scenes)
    assert sorted(shuffled.prompts) == sorted(asked.prompts)
    assert not any(ours == theirs for ours, theirs in zip(asked.scenes, shuffled.scenes, strict=True))
    assert Asked(("a", "b")).shuffled() == Asked(("b", "a"))
