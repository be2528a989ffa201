"""Prompts from the embedded world and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ladd_ray.data.prompts import prompts_fingerprint, read_prompts


def test_a_file_is_read_line_by_line_and_repeated(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a red apple\n\n  two cats \n")
    found = read_prompts(str(path), 5, split="train", seed=0)
    assert found == ["a red apple", "two cats", "a red apple", "two cats", "a red apple"]
    assert read_prompts(str(path), 1, split="heldout", seed=3) == ["a red apple"]


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no prompt file at .*nowhere\.txt: give a text file"):
        read_prompts(str(tmp_path / "nowhere.txt"), 1, split="train", seed=0)
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="holds no prompt"):
        read_prompts(str(tmp_path / "empty.txt"), 1, split="train", seed=0)


def test_splits_of_the_embedded_world_share_no_prompt() -> None:
    train = read_prompts("stickers", 200, split="train", seed=0)
    heldout = read_prompts("stickers", 200, split="heldout", seed=0)
    assert len(train) == len(heldout) == 200
    assert not set(train) & set(heldout)


def test_prompts_follow_from_the_seed() -> None:
    first, again, other = (read_prompts("stickers", 20, split="train", seed=seed) for seed in (5, 5, 6))
    assert first == again != other


def test_later_prompts_go_on_where_earlier_ones_end(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a\nb\nc\n")
    for source in ("stickers", str(file)):
        whole = read_prompts(source, 8, split="train", seed=0)
        parts = [read_prompts(source, 4, split="train", seed=0, start=start) for start in (0, 4)]
        assert [*parts[0], *parts[1]] == whole


def test_fingerprint_sees_words_and_order() -> None:
    fingerprint = prompts_fingerprint(["a cat", "a dog"])
    assert fingerprint == prompts_fingerprint(("a cat", "a dog"))
    assert len({fingerprint, prompts_fingerprint(["a dog", "a cat"]), prompts_fingerprint(["a cat", "a dot"])}) == 3
