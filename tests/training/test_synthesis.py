"""The training set, made in this process by the tiny teacher."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from ladd_ray.config import Config, override
from ladd_ray.data import row_files, training_rows
from ladd_ray.data.prompts import read_prompts
from ladd_ray.data.provenance import PROVENANCE_NAME, read_facts
from ladd_ray.data.task_rows import DrawnProvenance
from ladd_ray.training.preflight import Plan, prepare
from ladd_ray.training.synthesis import ensure_latents, synthesize
from ladd_ray.training.teaching import Teacher

COUNT, PIECE = 10, 4


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows make several files."""
    monkeypatch.setattr(row_files, "ROWS_PER_PIECE", PIECE)
    monkeypatch.setattr(training_rows, "ROWS_PER_PIECE", PIECE)


def small(config: Config, **changes: object) -> Plan:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return prepare(override(config, {"data.num_latents": COUNT, "data.synthesis_batch_size": 4, **dotted}))


def rows_of(folder: Path) -> pa.Table:
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))).sort_by("id")


def tensors(folder: Path, name: str = "latents") -> torch.Tensor:
    return torch.stack(
        [torch.frombuffer(bytearray(value), dtype=torch.float16) for value in rows_of(folder)[name].to_pylist()]
    )


def weight(folder: Path, name: str) -> int:
    return sum(len(value) for value in rows_of(folder)[name].to_pylist())


def unfinished(plan: Plan) -> Path:
    return plan.latents.with_name(plan.latents.name + ".unfinished")


def test_every_prompt_becomes_a_row(config: Config) -> None:
    plan = small(config)
    folder = ensure_latents(plan)
    assert folder == plan.latents
    assert [path.name for path in sorted(folder.glob("*.parquet"))] == [
        f"rows-{part:06d}-0000-last.parquet" for part in range(3)
    ]
    rows = rows_of(folder)
    assert rows["id"].to_pylist() == list(range(COUNT))
    assert rows["prompt"].to_pylist() == read_prompts("stickers", COUNT, split="train", seed=config.data.seed)
    assert set(zip(*(rows[name].to_pylist() for name in ("channels", "height", "width")), strict=True)) == {(16, 8, 8)}
    assert {*rows["task"].to_pylist()} == {"generate"}
    assert {*rows["real"].to_pylist()} == {False}
    assert {*rows["text_guidance"].to_pylist()} == {3.0}
    assert {*rows["image_guidance"].to_pylist()} == {1.0}
    assert tensors(folder).shape == (COUNT, 16 * 8 * 8)
    assert tensors(folder, "pooled_prompt_embeds").shape == (COUNT, 64)


def test_a_finished_folder_says_how_it_was_drawn_and_is_used_again(config: Config) -> None:
    plan = small(config)
    folder = ensure_latents(plan)
    assert read_facts(folder, DrawnProvenance) == plan.provenance
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert ensure_latents(plan) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_killed_synthesis_goes_on_and_draws_no_row_twice(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ensure_latents(small(config, run__directory=f"{config.run.directory}/whole"))
    plan, drawn = small(config), []
    teach = Teacher.rows

    def draw(self: Teacher, items: list[row_files.Item]) -> object:
        if len(drawn) == 1:
            raise KeyboardInterrupt
        drawn.append([item.id for item in items])
        return teach(self, items)

    monkeypatch.setattr(Teacher, "rows", draw)
    with pytest.raises(KeyboardInterrupt):
        ensure_latents(plan)
    kept = {path.name: path.stat().st_mtime_ns for path in unfinished(plan).glob("*.parquet")}
    (unfinished(plan) / "rows-000001-0000-last.parquet.abc.part").write_text("half a file")
    monkeypatch.setattr(
        Teacher, "rows", lambda self, items: drawn.append([item.id for item in items]) or teach(self, items)
    )
    folder = ensure_latents(plan)
    assert drawn == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept
    assert not unfinished(plan).exists()
    assert torch.equal(tensors(folder), tensors(whole))


def test_what_was_left_by_another_configuration_is_thrown_away(config: Config) -> None:
    plan, folder = small(config), unfinished(small(config))
    folder.mkdir(parents=True)
    (folder / "rows-000000-0000-last.parquet").write_text("of somebody else")
    (folder / PROVENANCE_NAME).write_text("{}")
    assert rows_of(ensure_latents(plan))["id"].to_pylist() == list(range(COUNT))


def test_a_tampered_set_is_refused_before_training(config: Config) -> None:
    plan = small(config)
    file = min(ensure_latents(plan).glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"was changed after it was made \({file.name}\)"):
        ensure_latents(plan)


def test_two_runs_that_want_the_same_latents_draw_them_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, built = small(config), []
    build = Teacher.__init__
    monkeypatch.setattr(Teacher, "__init__", lambda self, config: built.append(self) or build(self, config))
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(ensure_latents, [plan, plan]))
    assert folders == [plan.latents, plan.latents]
    assert len(built) == 1


def test_latents_do_not_depend_on_the_batches_they_are_drawn_in(config: Config, tmp_path: Path) -> None:
    """Nor on when: the noise of a row follows from its number."""
    first = ensure_latents(small(config))
    second = ensure_latents(small(config, run__directory=str(tmp_path / "other"), data__synthesis_batch_size=3))
    assert first.name == second.name
    for name in ("latents", "prompt_embeds", "pooled_prompt_embeds"):
        torch.testing.assert_close(tensors(first, name), tensors(second, name), rtol=2e-3, atol=2e-3, msg=name)


def test_other_seed_other_pictures(config: Config) -> None:
    first, second = (tensors(ensure_latents(small(config, data__seed=seed))) for seed in (0, 1))
    assert (first - second).abs().mean() > 0.1


def test_a_synthesis_tells_what_it_made_and_shows_it(config: Config) -> None:
    settings = override(config, {"data.num_latents": COUNT, "data.buckets": ((64, 64), (64, 96))})
    made = synthesize(settings)
    assert made.folder == prepare(settings).latents
    assert made.sheet == made.folder.with_name(f"{made.folder.name}.png")
    assert made.sheet.read_bytes()[1:4] == b"PNG"
    assert (made.drawn, dict(made.inventory.tasks)) == (COUNT, {"generate": COUNT})
    weights = {name: weight(made.folder, name) for name in ("latents", "prompt_embeds", "pooled_prompt_embeds")}
    assert made.inventory.latent_bytes == pytest.approx(weights.pop("latents"), rel=0.1)
    assert made.inventory.embedding_bytes == pytest.approx(sum(weights.values()), rel=0.2)
    assert f"{COUNT} rows (10 generate)" in made.describe()
    again = synthesize(settings)
    assert again.drawn == 0
    assert "none drawn now" in again.describe()
