"""The comparison of six forwards with eight: its arithmetic, and one run in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import reuse


def test_the_ratio_is_that_of_pairs() -> None:
    # A machine that slows down tenfold in between changes neither ratio.
    found = reuse.summary({"full": [3.0, 30.0, 30.0], "none": [4.0, 40.0, 60.0]})
    assert found["6F / 8F by pairs"] == [0.75, 0.75, 0.5]
    assert found["6F / 8F, median"] == found["6F / 8F of the forwards"] == 0.75


def test_both_kinds_of_step_have_the_same_gradients(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reuse.main(["--model", str(tiny_folder), "--micro-batch", "2", "--pairs", "1", "--text-tokens", "5"])
    found = json.loads(capsys.readouterr().out)
    for name in ("student", "heads"):
        assert found[f"{name} gradient, relative difference"] <= 1e-5
    assert found["6F step, median s"] > 0
    assert len(found["6F / 8F by pairs"]) == 1


def test_recorded_gradients_are_there_and_nothing_moved(tiny_folder: Path) -> None:
    options = reuse._parser().parse_args(["--model", str(tiny_folder)])
    method = reuse._build(options, "none")
    before = {name: network.checksum() for name, network in method.trainable.items()}
    batch = reuse.random_batch(method, micro_batch_size=2, pixels=64, text_tokens=5, device="cpu")
    recorded = reuse._recorded(method, batch)
    assert all(any(gradient.any() for gradient in gradients.values()) for gradients in recorded.values())
    assert before == {name: network.checksum() for name, network in method.trainable.items()}
