"""What distances are measured to: found, described for the protocol, and never the set itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ladd_ray.data import stickers
from ladd_ray.training.evaluation.plan import prepare_evaluation
from ladd_ray.training.evaluation.references import Reference, find_reference, reference_pictures
from ladd_ray.training.painting import Painter
from tests.training.evaluation.conftest import Configure


def found(configure: Configure, **changes: object) -> Reference:
    reference = find_reference(configure(**changes), fetch=True)
    assert reference is not None
    return reference


def images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.full((20, 30 + number % 2, 3), number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_real_pictures_are_none_of_the_prompts(configure: Configure) -> None:
    plan = prepare_evaluation(configure())
    assert plan.reference is not None and plan.asked.scenes is not None
    (pictures,) = reference_pictures(plan.reference, plan.samples[:6], crew=plan.crew)
    assert [picture.shape for picture in pictures] == [(64, 64, 3), (64, 96, 3)] * 3
    own = {stickers.render(scene).tobytes() for scene in plan.asked.scenes}
    assert not own & {picture.tobytes() for picture in pictures}


def test_a_folder_gives_its_first_images_as_they_are(configure: Configure, tmp_path: Path) -> None:
    folder = images(tmp_path / "photos", 9)
    reference = found(configure, reference=str(folder))
    plan = prepare_evaluation(configure())
    pictures = [picture for part in reference_pictures(reference, plan.samples, crew=plan.crew) for picture in part]
    assert [int(picture[0, 0, 0]) for picture in pictures] == list(range(6))
    assert pictures[1].shape == (20, 31, 3)


def test_the_description_follows_the_images(configure: Configure, tmp_path: Path) -> None:
    folder = images(tmp_path / "photos", 5)
    before = found(configure, reference=str(folder)).description
    assert before == found(configure, reference=str(folder)).description
    assert before.startswith("5 images ")
    Image.new("RGB", (20, 30), "red").save(folder / "02.png")
    assert found(configure, reference=str(folder)).description != before


def test_a_model_draws_as_a_teacher_with_other_noise(configure: Configure, run_folder: Path) -> None:
    """Even where it is the model that is scored: the distance of a model from itself is not 0 by design."""
    config = configure(roles=("teacher",), reference=str(run_folder), num_images=4)
    plan = prepare_evaluation(config)
    assert plan.reference is not None
    assert plan.reference.description.endswith("2 steps at guidance 3, shift 1")
    samples = [sample for sample in plan.samples[:4] if sample.width == 64]
    (pictures,) = reference_pictures(plan.reference, samples, crew=plan.crew)
    own = Painter(plan.crew).paint(plan.main, samples)
    assert np.abs(np.stack(pictures).astype(int) - own).mean() > 1


def test_no_reference_is_wanted(configure: Configure) -> None:
    assert find_reference(configure(reference="none"), fetch=True) is None


@pytest.mark.parametrize(("count", "message"), [(0, "model_index.json"), (3, "at least 4")])
def test_folders_with_too_few_images_are_refused(
    configure: Configure, tmp_path: Path, count: int, message: str
) -> None:
    folder = images(tmp_path / "photos", count)
    with pytest.raises(ValueError, match=message):
        find_reference(configure(reference=str(folder)), fetch=True)


def test_a_missing_reference_is_refused(configure: Configure) -> None:
    with pytest.raises(ValueError, match="set reference to"):
        find_reference(configure(reference="/no/such/folder"), fetch=True)
