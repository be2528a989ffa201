"""report.html of sweeps that were never run: what it shows, that nothing in it is run, and that it appears whole."""

from __future__ import annotations

import json
import math
import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ladd_ray.evaluation.sweep_page import clock_text
from ladd_ray.evaluation.sweep_parallel import parallel_chart
from ladd_ray.evaluation.sweep_report import write_report
from ladd_ray.sweep_records import BEST_FILE, BestRecord, ChoiceRecord, TrialRecord, TrialsRecord, write_record
from tests.tune.records import (
    PLANE,
    START,
    WIDE,
    plane_trials,
    searched_trials,
    sweep_record,
    trial_record,
    write_sheet,
    write_sweep,
)


class Page(HTMLParser):
    """The parts of a report that tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())

    def values(self, tag: str, attribute: str) -> list[str]:
        return [found for name, attributes in self.tags if name == tag and (found := attributes.get(attribute))]

    @property
    def charts(self) -> dict[str, dict[str, object]]:
        found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', self.text, re.DOTALL)
        assert found
        return {chart["id"]: chart for chart in json.loads(found[1])}


def report(folder: Path) -> Page:
    return Page(write_report(folder).read_text())


def test_grid_that_ended(tmp_path: Path) -> None:
    folder = write_sweep(
        tmp_path, sweep_record(PLANE, grid=True, ended=START + timedelta(seconds=3725)), plane_trials()
    )
    page = report(folder)
    assert set(page.charts) == {"heat-judge", "heat-kid", "budget", "parallel", "importance"}
    assert "finished" in page.text
    assert "1:02:05" in page.text
    assert "http-equiv" not in page.text
    assert len(page.rows) == 1 + 18
    (cells,) = page.charts["heat-judge"]["data"]
    assert cells["z"][1] == [pytest.approx(0.87), pytest.approx(0.92)]
    assert cells["text"][1][1] == "0.920<br>± 0.050"
    assert "Best by judge" in (folder / "study.md").read_text()
    with Image.open(folder / "study.webp") as picture:
        assert picture.width > 400


def test_grid_of_words_has_intervals(tmp_path: Path) -> None:
    space = {"discriminator.tapped_blocks": ChoiceRecord(values=("all", "half"))}
    trials = [
        trial_record(
            2 * place + seed,
            {"discriminator.tapped_blocks": name},
            judge=[0.1, 0.2, 0.7 + 0.1 * place + 0.02 * seed],
            configuration=place,
            seed=seed,
        )
        for place, name in enumerate(("all", "half"))
        for seed in range(2)
    ]
    ended = sweep_record(space, grid=True, ended=START)
    page = report(write_sweep(tmp_path, ended, trials))
    dots, means = page.charts["points-judge"]["data"]
    assert means["y"] == ["half", "all"]
    assert means["x"] == pytest.approx([0.81, 0.71])
    assert means["error_x"]["array"] == pytest.approx([12.7062 * 0.01] * 2)
    assert sorted(dots["x"]) == pytest.approx([0.70, 0.72, 0.80, 0.82])
    assert (tmp_path / "study.webp").is_file()


def test_sweep_without_trials(tmp_path: Path) -> None:
    page = report(write_sweep(tmp_path, sweep_record(WIDE, grid=False), []))
    assert "None has begun yet" in page.text
    assert page.charts == {}
    assert not (tmp_path / "study.md").exists()


def stopped_search() -> list[TrialRecord]:
    first, second, third, *rest = searched_trials(12)
    return [
        first.model_copy(update={"status": "stopped", "reason": "behind at step 25", "scores": first.scores[:1]}),
        second.model_copy(update={"status": "failed", "reason": "<script>alert(1)</script>", "scores": ()}),
        third.model_copy(update={"status": "running", "ended": None, "scores": third.scores[:2]}),
        *rest,
    ]


def test_running_search(tmp_path: Path) -> None:
    page = report(write_sweep(tmp_path, sweep_record(WIDE, grid=False), stopped_search()))
    assert '<noscript><meta http-equiv="refresh" content="20"></noscript>' in page.text
    assert "12 of 18: 1 stopped, 1 failed, 1 running, 9 done" in page.text
    assert page.rows[1][1] == "stopped behind at step 25"
    assert page.rows[2][1] == "failed <script>alert(1)</script>"
    assert page.rows[2][-2] == ""
    lines = page.charts["budget"]["data"]
    assert len(lines) == 11
    assert lines[0]["x"] == [25]
    assert lines[0]["marker"]["symbol"] == ["x"]
    assert [shape["x0"] for shape in page.charts["budget"]["layout"]["shapes"]] == [25, 50]


def test_texts_of_others_are_never_markup(tmp_path: Path) -> None:
    evil = '</script><img src=x onerror="alert(1)"><a href="javascript:alert(1)">'
    space = {"data.prompts": ChoiceRecord(values=(evil, "tame")), "student.lr": WIDE["student.lr"]}
    trials = [
        trial_record(number, {"data.prompts": evil, "student.lr": 1e-4}, judge=[0.1, 0.2], reason=evil, folder=evil)
        for number in range(2)
    ]
    sweep = sweep_record(space, grid=False, name=evil, recipe=evil, space_name=evil, base={evil: evil})
    page = report(write_sweep(tmp_path, sweep, trials))
    assert "img" not in {tag for tag, _ in page.tags}
    assert not [link for link in page.values("a", "href") if link.startswith("javascript")]
    drawn = json.dumps(list(page.charts.values()))
    assert "&lt;img" in drawn
    assert "<img" not in drawn
    assert "<a" not in drawn


def test_plotly_lies_beside_the_report_and_nothing_comes_from_afar(tmp_path: Path) -> None:
    page = report(write_sweep(tmp_path, sweep_record(PLANE, grid=True), plane_trials()))
    assert page.values("script", "src") == ["plotly.min.js"]
    placed = tmp_path / "plotly.min.js"
    assert placed.stat().st_size > 1_000_000
    written = placed.stat().st_mtime_ns
    write_report(tmp_path)
    assert placed.stat().st_mtime_ns == written
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_sheets_are_shown_anew_after_every_score(tmp_path: Path) -> None:
    trial = plane_trials()[0].model_copy(update={"sheet": "trials/a b/sheet.png"})
    write_sheet(tmp_path / "trials/a b/sheet.png")
    page = report(write_sweep(tmp_path, sweep_record(PLANE, grid=True), [trial]))
    assert page.values("img", "src") == ["trials/a%20b/sheet.png?step=100"]


def test_winner_comes_with_the_command_that_trains_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_sweep(tmp_path / "runs" / "study", sweep_record(PLANE, grid=True), plane_trials())
    best = BestRecord(
        recipe="stickers", changes={}, validated={}, sweep="study", metric="judge", value=0.92, trials=(9, 10, 11)
    )
    write_record(folder / BEST_FILE, best)
    page = report(folder)
    assert "python jobs/distill.py stickers --overrides runs/study/best.json" in page.text
    assert "#9, #10, #11: renoise_mean 0 · renoise_std 1. judge 0.920 after 100 steps, mean over 3 seeds." in page.text
    assert sum(attributes.get("class") == "best" for tag, attributes in page.tags if tag == "tr") == 3


def test_leader_counts_the_seeds_that_came_to_the_end(tmp_path: Path) -> None:
    trials = plane_trials()
    # The best point has a seed that collapsed, as all others have.
    trials = [
        trial.model_copy(update={"status": "collapsed", "scores": trial.scores[:1]}) if trial.seed == 2 else trial
        for trial in trials
    ]
    page = report(write_sweep(tmp_path, sweep_record(PLANE, grid=True), trials))
    assert "#9, #10, #11: renoise_mean 0 · renoise_std 1. judge 0.910 after 100 steps, mean over 2 seeds." in page.text


def test_winner_of_a_point_that_was_suggested_twice_has_one_seed(tmp_path: Path) -> None:
    first, *_ = plane_trials()
    again = first.model_copy(update={"id": "again", "number": 1})
    folder = write_sweep(tmp_path, sweep_record(PLANE, grid=False), [first, again])
    best = BestRecord(recipe="stickers", changes={}, validated={}, sweep="s", metric="judge", value=0.75, trials=(0, 1))
    write_record(folder / BEST_FILE, best)
    assert "judge 0.750 after 100 steps, one seed." in report(folder).text


def test_parallel_lines_go_through_the_values_of_their_trials() -> None:
    sweep, trials = sweep_record(WIDE, grid=False), searched_trials(12)
    chart = parallel_chart(sweep, TrialsRecord(trials=tuple(trials)))
    ticks = {(note["x"], note["text"]): note["y"] for note in chart.layout["annotations"]}
    worst, *_, best = chart.data
    trial = max(trials, key=lambda one: one.scores[-1].judge)
    assert best["hovertemplate"].startswith(f"#{trial.number}: ")
    assert best["y"][0] == pytest.approx((trial.point["noise.renoise_mean"] + 2) / 4)
    assert best["y"][1] == pytest.approx((math.log10(trial.point["discriminator.lr"]) + 4) / 2)
    assert best["y"][3] == ticks[3, trial.point["discriminator.tapped_blocks"]]
    assert (worst["y"][-1], best["y"][-1]) == (0, 1)
    assert ticks[1, "0.001"] == pytest.approx(0.5)


def test_report_is_always_whole(tmp_path: Path) -> None:
    write_sweep(tmp_path, sweep_record(PLANE, grid=True), plane_trials())
    path = write_report(tmp_path)

    def rewrite() -> None:
        for _ in range(2):
            write_report(tmp_path)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(rewrite)
        while wait([writing], timeout=0.005).not_done:
            text = path.read_text()
            assert text.startswith("<!doctype html>")
            assert text.rstrip().endswith("</html>")
    writing.result()


def test_no_sweep_no_report(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path)


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3725.4, "1:02:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
