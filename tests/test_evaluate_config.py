"""What an evaluation can be asked for, and what its messages say to do."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ladd_ray.config import override
from ladd_ray.evaluate_config import EvaluateConfig

CONFIG = EvaluateConfig(models=("stickers",))
DISTANCES = {"kid", "fid", "precision_recall"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "no model to score"),
        ({"roles": ("teacher", "student")}, "2 roles for 1 models"),
        ({"sizes": ((64, 60),)}, "multiples of 16"),
        ({"sizes": ()}, "multiples of 16"),
        ({"prompts": "mine.txt", "reference": "real"}, "set reference to a folder"),
        ({"prompts": "mine.txt", "scores": ("judge",)}, "judge cannot be computed"),
        ({"prompts": "mine.txt", "scores": ("diversity", "kid")}, "kid cannot be computed"),
        ({"reference": "none", "scores": ("fid",)}, "fid cannot be computed"),
        ({"scores": ("clip",)}, r"clip needs clip\.weights"),
        ({"prompts": "mine.txt", "num_edits": 8}, "set num_edits and num_inpaints to 0"),
        ({"scores": ("kid",), "num_inpaints": 8}, "set num_edits and num_inpaints to 0"),
        ({"num_edits": -1}, "greater than or equal to 0"),
        ({"student.steps": (2, 2)}, "distinct"),
        ({"student.steps": (0,)}, "at least 1"),
        ({"num_images": 3}, "greater than or equal to 4"),
        ({"diversity.num_seeds": 1}, "greater than or equal to 2"),
        ({"run.workers": 2}, "unknown setting"),
    ],
)
def test_mistakes_are_refused_with_the_fix(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(CONFIG, changes)


def test_scores_are_all_that_can_be_computed() -> None:
    assert set(CONFIG.chosen_scores) == DISTANCES | {"judge", "diversity", "latency"}
    assert set(override(CONFIG, {"clip.weights": "clip.pt"}).chosen_scores) == {*CONFIG.chosen_scores, "clip"}
    own = override(CONFIG, {"prompts": "mine.txt"})
    assert set(own.chosen_scores) == {"diversity", "latency"}
    assert set(override(own, {"reference": "photos"}).chosen_scores) == DISTANCES | {"diversity", "latency"}
    assert override(CONFIG, {"scores": ("kid",)}).chosen_scores == ("kid",)


def test_the_reference_follows_the_prompts() -> None:
    assert CONFIG.chosen_reference == "real"
    assert override(CONFIG, {"reference": "none"}).chosen_reference is None
    assert override(CONFIG, {"prompts": "mine.txt"}).chosen_reference is None
    assert override(CONFIG, {"prompts": "mine.txt", "reference": "photos"}).chosen_reference == "photos"


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CONFIG.seed = 1  # type: ignore[misc]
