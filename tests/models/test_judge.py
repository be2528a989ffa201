"""Peaks become objects, squares become boxes, files come back; and the committed judge sees nothing in nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ladd_ray.data.stickers import FRAMES
from ladd_ray.models.judge import Found, Judge, JudgeShape, Maps, Reading, assets_folder, strongest

SHAPE = JudgeShape(("fox", "dog"), ("flat", "noto"), ("white", "blue", "pink"), widths=(4, 8, 16), blocks=(1, 1))
FOX = Found("fox", "flat", left=8, top=16, size=24, confidence=0.9)


@pytest.fixture
def judge() -> Judge:
    torch.manual_seed(0)
    return Judge(SHAPE).eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80), (8, 24)])
def test_every_cell_is_answered(judge: Judge, height: int, width: int) -> None:
    maps = judge(torch.rand(2, 3, height, width))
    cells = (height // 8, width // 8)
    assert maps.concepts.shape == (2, 3, *cells)
    assert maps.styles.shape == (2, 2, *cells)
    assert maps.squares.shape == (2, 3, *cells)
    assert maps.backgrounds.shape == (2, 3)


def planted(*objects: tuple[int, int, int, float]) -> Maps:
    """Maps (1, ., 8, 8) that see nothing but (concept, x, y, logit) with squares of three cells around their cells."""
    concepts = torch.zeros(1, 3, 8, 8)
    concepts[:, 2] = 9
    styles = torch.zeros(1, 2, 8, 8)
    styles[:, 1] = 1
    squares = torch.zeros(1, 3, 8, 8)
    squares[:, 2] = torch.tensor(3.0).log()
    for concept, x, y, logit in objects:
        concepts[0, concept, y, x] = 9 + logit
    return Maps(concepts, styles, squares, torch.tensor([[0.0, 2.0, 1.0]]))


def reading(judge: Judge, maps: Maps) -> Reading:
    (only,) = judge._readings(maps, 0.5)
    return only


def test_peaks_become_objects(judge: Judge) -> None:
    seen = reading(judge, planted((0, 1, 2, 5.0), (1, 6, 5, 9.0)))
    assert seen.background == "blue"
    assert [(one.concept, one.style, one.left, one.top, one.size) for one in seen.objects] == [
        ("dog", "noto", 40, 32, 24),
        ("fox", "noto", 0, 8, 24),
    ]
    assert seen.objects[1].confidence == pytest.approx(torch.tensor(5.0).sigmoid().item(), abs=1e-3)


def test_faint_peaks_are_no_objects(judge: Judge) -> None:
    assert reading(judge, planted((0, 1, 2, -1.0))).objects == ()


def test_squares_are_relative_to_their_cells(judge: Judge) -> None:
    maps = planted((0, 1, 2, 5.0))
    maps.squares[0, :, 2, 1] = torch.tensor([0.5, -0.25, torch.tensor(2.0).log()])
    (found,) = reading(judge, maps).objects
    assert found.box == (8, 10, 24, 26)


def test_neighbouring_peaks_are_one_object(judge: Judge) -> None:
    seen = reading(judge, planted((0, 1, 2, 5.0), (1, 2, 2, 2.0)))
    assert [one.concept for one in seen.objects] == ["fox"]


def test_the_strongest_sighting_stays() -> None:
    weaker = replace(FOX, concept="dog", left=FOX.left + 11, confidence=0.6)
    beside = replace(FOX, concept="dog", left=FOX.left + 24, confidence=0.7)
    assert strongest([weaker, beside, FOX]) == (FOX, beside)


def test_style_is_that_of_most_objects() -> None:
    noto = replace(FOX, style="noto", confidence=0.6)
    assert Reading((FOX, noto, noto), "white").style == "noto"
    assert Reading((noto, FOX), "white").style == "flat"
    assert Reading((), "white").style is None


def test_read_equals_the_maps(judge: Judge) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 3), dtype=np.uint8)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = judge._readings(judge(images), 0.3)
    assert judge.read(pictures, min_confidence=0.3) == expected
    assert any(one.objects for one in expected)
    batched = judge.read(pictures, min_confidence=0.3, batch_size=2)
    assert [one.background for one in batched] == [one.background for one in expected]


@pytest.mark.parametrize(
    ("pictures", "complaint"),
    [
        (np.zeros((2, 3, 64, 64), np.uint8), "give uint8"),
        (np.zeros((2, 64, 64, 3), np.float32), "give uint8"),
        (np.zeros((2, 60, 64, 3), np.uint8), "multiples of 8"),
    ],
)
def test_other_arrays_are_refused(judge: Judge, pictures: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        judge.read(pictures)


def test_saved_judge_comes_back(judge: Judge, tmp_path: Path) -> None:
    judge.bfloat16().float().save(tmp_path / "judge")
    restored = Judge.from_pretrained(tmp_path / "judge")
    assert restored.shape == SHAPE
    for name, weight in judge.state_dict().items():
        assert torch.equal(restored.state_dict()[name], weight), name
    assert not any(weight.requires_grad for weight in restored.parameters())


def test_missing_judge_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--stages judge"):
        Judge.from_pretrained(tmp_path)


def test_committed_judge_is_small() -> None:
    judge = Judge.from_pretrained()
    assert sum(weight.numel() for weight in judge.parameters()) <= 450_000
    assert (assets_folder() / "model.safetensors").stat().st_size <= 900_000


def test_committed_accuracy_is_high() -> None:
    report = json.loads((assets_folder() / "accuracy.json").read_text())
    shares = [share for size in report["rendered"].values() for share in size.values()]
    assert len(shares) == 21
    assert min(shares) >= 0.98


@pytest.mark.parametrize(("height", "width"), FRAMES)
def test_committed_judge_sees_nothing_in_nothing(height: int, width: int) -> None:
    generator = np.random.default_rng(0)
    plain = np.broadcast_to(generator.integers(0, 256, (32, 1, 1, 3), dtype=np.uint8), (32, height, width, 3))
    noise = generator.integers(0, 256, (32, height, width, 3), dtype=np.uint8)
    readings = Judge.from_pretrained().read(np.concatenate([plain, noise]))
    assert sum(bool(one.objects) for one in readings) <= 2
