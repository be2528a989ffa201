"""The judge's answers read back as the scenes, softening stays within bounds, and the stage learns and reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ladd_ray.data import stickers
from ladd_ray.data.stickers import Scene
from ladd_ray.evaluation.judge import prompt_scores
from ladd_ray.models.autoencoder import to_uint8
from ladd_ray.models.judge import Judge, Maps
from ladd_ray.training.pretraining import judge_scenes, soften
from ladd_ray.training.pretraining.judge import judge_loss, train_judge, untrained_judge
from ladd_ray.training.pretraining.judge_report import write_accuracy
from ladd_ray.training.pretraining.judge_scenes import JudgeBatch, judge_batch
from ladd_ray.training.pretraining.run import pretrain
from ladd_ray.training.pretraining.settings import PretrainConfig, StageSettings


def scenes(height: int, width: int, *, count: int = 60) -> list[Scene]:
    return [stickers.scene(5, index, height=height, width=width) for index in range(count)]


def answered(drawn: list[Scene], *, empty: bool = False, has_background: bool = True) -> JudgeBatch:
    return judge_scenes._answered(
        torch.zeros(0),
        drawn,
        empty=torch.full((len(drawn),), empty),
        has_background=torch.full((len(drawn),), has_background),
    )


def perfect_maps(batch: JudgeBatch) -> Maps:
    """Logits of a judge that knows the answers."""
    return Maps(
        9.0 * F.one_hot(batch.concepts, len(stickers.CONCEPTS) + 1).movedim(-1, 1),
        9.0 * F.one_hot(batch.styles, len(stickers.STYLES)).movedim(-1, 1),
        batch.squares,
        9.0 * F.one_hot(batch.backgrounds, len(stickers.BACKGROUNDS)),
    )


@pytest.mark.parametrize(("height", "width"), stickers.FRAMES)
@pytest.mark.parametrize("shift", [0, 3])
def test_answers_read_back_as_the_scenes(height: int, width: int, shift: int) -> None:
    drawn = [
        replace(scene, objects=tuple(replace(item, left=item.left + shift) for item in scene.objects))
        for scene in scenes(height, width)
    ]
    readings = untrained_judge()._readings(perfect_maps(answered(drawn)), 0.5)
    for seen, scene in zip(readings, drawn, strict=True):
        found = sorted((one.box, one.concept, one.style) for one in seen.objects)
        assert found == sorted((item.box, item.concept, item.style) for item in scene.objects)
        assert seen.background == scene.background


def test_every_object_weighs_the_same() -> None:
    drawn = scenes(64, 64)
    weights = answered(drawn).weights.sum(dim=(1, 2))
    torch.testing.assert_close(weights, torch.tensor([float(len(scene.objects)) for scene in drawn]))


def test_right_answers_cost_less_than_wrong_ones() -> None:
    batch = answered(scenes(64, 64))
    maps = perfect_maps(batch)
    value, parts = judge_loss(maps, batch)
    assert value < 0.05
    assert parts["square"] == 0 and parts["accuracy"] == pytest.approx(1)
    for field in Maps._fields:
        wrong = maps._replace(**{field: getattr(maps, field).roll(1, dims=1)})
        assert judge_loss(wrong, batch)[0] > 10 * value


def test_empty_pictures_cost_nothing_for_style_square_and_background() -> None:
    batch = answered(scenes(64, 64, count=4), empty=True, has_background=False)
    assert (batch.concepts == len(stickers.CONCEPTS)).all()
    _, parts = judge_loss(untrained_judge()(torch.zeros(4, 3, 64, 64)), batch)
    assert parts["style"] == parts["square"] == parts["background"] == 0


def test_crumpled_pictures_are_empty_and_keep_their_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_scenes, "NOISE", 0.0)
    monkeypatch.setattr(judge_scenes, "SHUFFLED", 0.0)
    monkeypatch.setattr(judge_scenes, "CRUMPLED", 1.0)
    batch = judge_batch(8)
    assert batch.weights.sum() == 0
    assert batch.has_background.all()


def test_displacement_leaves_a_gap_between_crooked_and_crumpled() -> None:
    torch.manual_seed(0)
    drawn = scenes(64, 64, count=200)
    largest = torch.tensor([max(item.size for item in scene.objects) for scene in drawn])
    crumpled = torch.arange(200) < 100
    shares = judge_scenes._displacement(drawn, crumpled=crumpled) / largest
    assert shares[crumpled].min() >= 0.12 and shares[crumpled].max() <= 0.25
    assert shares[~crumpled].max() <= 0.03
    assert 0.6 < (shares[~crumpled] == 0).float().mean() < 0.9


def test_batches_follow_the_seed() -> None:
    torch.manual_seed(3)
    first = judge_batch(8)
    torch.manual_seed(3)
    again = judge_batch(8)
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name)), name
    assert not torch.equal(judge_batch(8).concepts, first.concepts)
    assert first.images.abs().max() <= 1


def test_batches_hold_all_frames_and_all_drawings() -> None:
    torch.manual_seed(0)
    batches = [judge_batch(64) for _ in range(24)]
    assert {tuple(batch.images.shape[2:]) for batch in batches} == set(stickers.FRAMES)
    drawings = {
        pair
        for batch in batches
        for pair in zip(
            batch.concepts[batch.weights > 0].tolist(), batch.styles[batch.weights > 0].tolist(), strict=True
        )
    }
    assert len(drawings) == len(stickers.CONCEPTS) * len(stickers.STYLES)


def test_disorder_keeps_the_cells() -> None:
    torch.manual_seed(0)
    images = torch.arange(2 * 3 * 16 * 24, dtype=torch.float32).view(2, 3, 16, 24)
    mixed = judge_scenes._in_disorder(images)
    assert not torch.equal(mixed, images)
    assert torch.equal(mixed.flatten(1).sort(dim=1).values, images.flatten(1).sort(dim=1).values)
    corners = {float(corner) for corner in images[0, 0, ::8, ::8].flatten()}
    assert {float(corner) for corner in mixed[0, 0, ::8, ::8].flatten()} == corners


@pytest.mark.parametrize("change", [soften._blurred, soften._resized, soften._coarse])
def test_softening_loses_detail_and_keeps_colour(change: object) -> None:
    torch.manual_seed(0)
    assert callable(change)
    flat = torch.tensor([0.5, -0.25, 0.9])[None, :, None, None].expand(2, 3, 48, 80)
    torch.testing.assert_close(change(flat), flat, atol=1e-5, rtol=0)
    noise = torch.randn(2, 3, 48, 80)
    assert change(noise).shape == noise.shape
    assert change(noise).std() < 0.9 * noise.std()


def test_crumpling_moves_what_is_drawn() -> None:
    torch.manual_seed(0)
    images = F.avg_pool2d(torch.rand(2, 3, 54, 86), 7, stride=1)
    crumpled = soften.crumple(images, pixels=torch.tensor([0.0, 5.0]))
    torch.testing.assert_close(crumpled[0], images[0], atol=1e-5, rtol=0)
    assert (crumpled[1] - images[1]).abs().mean() > 0.03
    assert images[1].min() <= crumpled[1].min() and crumpled[1].max() <= images[1].max()


def test_fields_have_any_colour_and_no_drawing() -> None:
    torch.manual_seed(0)
    fields = soften.fields(200, height=48, width=80)
    assert fields.shape == (200, 3, 48, 80)
    assert fields.abs().max() <= 1
    plain = fields.flatten(2).std(dim=2).amax(dim=1) == 0
    assert 0.1 < plain.float().mean() < 0.4
    assert fields[plain, :, 0, 0].std(dim=0).min() > 0.4
    assert soften.fields(0, height=48, width=80).shape == (0, 3, 48, 80)


def test_some_pictures_stay_sharp_and_others_do_not() -> None:
    torch.manual_seed(0)
    images = torch.randn(40, 3, 16, 16)
    before = images.clone()
    kept = [torch.equal(one, other) for one, other in zip(soften.soften(images), before, strict=True)]
    assert torch.equal(images, before)
    assert 4 <= sum(kept) <= 20


def test_cosines_are_orthonormal() -> None:
    basis: Tensor = soften._cosines()
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)


def test_stage_learns(tmp_path: Path) -> None:
    config = PretrainConfig(
        directory=str(tmp_path), judge=StageSettings(steps=41, batch_size=16, lr=2e-3, lr_warmup_steps=5)
    )
    train_judge(config)
    rows = [json.loads(line) for line in (tmp_path / "judge.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 20, 40]
    assert rows[-1]["background"] < 0.7 * rows[0]["background"]
    assert rows[-1]["concept"] < 0.9 * rows[0]["concept"]


def test_stage_writes_weights_and_accuracy(tmp_path: Path) -> None:
    config = PretrainConfig(
        directory=str(tmp_path), threads=1, stages=("judge",), judge=StageSettings(steps=1, batch_size=2)
    )
    pretrain(config)
    folder = tmp_path / "judge"
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "accuracy.json"}
    report = json.loads((folder / "accuracy.json").read_text())
    assert set(report) == {"rendered"}
    assert set(report["rendered"]) == {"64x64", "64x96", "96x64"}
    assert report["rendered"]["64x64"]["object"] < 0.1


def test_reconstructions_are_reported_beside_the_renders(tmp_path: Path) -> None:
    class Blank:
        """An autoencoder that decodes everything to gray."""

        def encode(self, images: Tensor) -> Tensor:
            return torch.zeros(len(images), 1)

        def decode(self, latents: Tensor) -> Tensor:
            return torch.zeros(len(latents), 3, 64, 64)

    untrained_judge().save(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ladd_ray.data.stickers.FRAMES", ((64, 64),))
        lines = write_accuracy(tmp_path, autoencoder=Blank(), count=40)  # type: ignore[arg-type]
    assert len(lines) == 2
    assert lines[1].startswith("judge, reconstructed, 64x64: object 0.0 %")


def test_committed_judge_reads_shapes_and_not_colours_alone() -> None:
    torch.manual_seed(0)
    drawn = [stickers.scene(11, index, split="heldout") for index in range(100)]
    images = torch.stack([torch.from_numpy(stickers.render(scene)) for scene in drawn]).permute(0, 3, 1, 2) / 127.5 - 1
    largest = torch.tensor([max(item.size for item in scene.objects) for scene in drawn])
    judge = Judge.from_pretrained()
    little, much = (
        prompt_scores(judge.read(to_uint8(soften.crumple(images, pixels=share * largest)).numpy()), drawn)
        for share in (0.02, 0.2)
    )
    assert little.overall > 0.95
    assert much.overall < 0.2
    assert much.background.value > 0.9
