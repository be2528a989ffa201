"""The launch page over a cluster that only pretends: the form and its errors, jobs, files."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import tyro
from starlette.testclient import TestClient

from ladd_ray.sweep_records import SWEEP_FILE
from tests.tune.jobs import Job, PretendedCluster, Status
from tests.tune.records import PLANE, START, plane_trials, sweep_record, write_sweep
from tests.tune.visitors import ORDER, RANGES, send, started
from tune import sweep
from tune.launching.order import read_base
from tune.spaces import SPACES


def errors_of(text: str) -> dict[str, str]:
    return dict(re.findall(r'<p class="error" role="alert" id="error-([^"]+)">(.*?)</p>', text, re.DOTALL))


def parsed(entrypoint: str) -> sweep.Arguments:
    """As the job will read its command line."""
    python, script, *arguments = shlex.split(entrypoint)
    assert (python, script) == ("python", "tune/sweep.py")
    options = (tyro.conf.PositionalRequiredArgs, tyro.conf.PositionalMetavarFromFieldName, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(sweep.Arguments, args=arguments, config=options)


def built_in_fields(page: str) -> dict[str, str]:
    """The dimensions of a form as it stands."""
    found = dict(re.findall(r'<input name="([^"]+)" value="([^"]*)"', page))
    ticks = dict.fromkeys(re.findall(r'type="checkbox" name="(use:[^"]+)" checked', page), "on")
    return {name: value.replace("&#34;", '"') for name, value in found.items()} | ticks


def test_order_becomes_a_job_that_the_command_line_understands(
    person: TestClient, pretended: PretendedCluster, runs: Path
) -> None:
    fields = {**ORDER, **RANGES, "steps": "60", "score_every": "20", "max_concurrent": "2", "base": "run.num_workers 0"}
    answer = send(person, fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sweeps/mine")
    (job,) = pretended.jobs
    config = parsed(job.entrypoint).config
    assert (config.recipe, config.samples, config.seeds, config.metric) == ("stickers", 4, (3,), "judge")
    assert config.base == {"run.num_workers": "0", "run.steps": "60"}
    assert (config.score_every, config.run.max_concurrent) == (20, 2)
    assert (config.run.name, config.run.directory) == ("mine", str(runs))
    assert json.loads(Path(config.space).read_text()) == {
        "noise.renoise_mean": {"uniform": [-1.5, 1.0]},
        "noise.renoise_std": {"uniform": [0.5, 2.0]},
    }
    assert job.runtime_env["working_dir"] == "/repository"
    assert job.metadata == {
        "ladd_ray": "sweep", "sweep": "mine", "folder": str(runs / "mine"), "recipe": "stickers",
        "space": "search noise, changed",
    }  # fmt: skip


@pytest.mark.parametrize("space", [f"search:{name}" for name in SPACES])
def test_unchanged_space_goes_by_its_name(person: TestClient, pretended: PretendedCluster, space: str) -> None:
    fields = built_in_fields(person.get("/", params={"space": space}).text)
    assert send(person, {**ORDER, "space": space, **fields}).status_code == 303
    assert parsed(pretended.jobs[0].entrypoint).config.space == space.removeprefix("search:")


def test_grid_takes_its_seeds_and_no_samples(person: TestClient, pretended: PretendedCluster) -> None:
    page = person.get("/", params={"space": "grid:heads"}).text
    assert 'name="samples"' not in page
    order = {**ORDER, "space": "grid:heads", "seeds": "0, 1 2", **built_in_fields(page)}
    assert send(person, order).status_code == 303
    config = parsed(pretended.jobs[0].entrypoint).config
    assert config.grid
    assert config.seeds == (0, 1, 2)
    assert config.space == "heads"


def test_values_may_be_written_as_words(person: TestClient, pretended: PretendedCluster) -> None:
    blocks = {"use:discriminator.tapped_blocks": "on", "values:discriminator.tapped_blocks": "all, last, [0, 1]"}
    assert send(person, {**ORDER, "space": "search:heads", **blocks}).status_code == 303
    space = json.loads(Path(parsed(pretended.jobs[0].entrypoint).config.space).read_text())
    assert space == {"discriminator.tapped_blocks": ["all", "last", [0, 1]]}


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"samples": "0"}, "samples", "greater than or equal to 1"),
        ({"samples": "many"}, "samples", "valid integer"),
        ({"seeds": "1 2"}, "seeds", "give one seed"),
        ({"seeds": "x"}, "seeds", "valid integer"),
        ({"name": "../up"}, "name", "match pattern"),
        ({"name": "taken"}, "name", "there is a run called taken"),
        ({"recipe": "sticker"}, "recipe", "did you mean"),
        ({"metric": "loss"}, "metric", "kid"),
        ({"steps": "0"}, "steps", "greater than or equal to 1"),
        ({"score_every": "5000"}, "score_every", "exceeds the 200 steps"),
        ({"max_concurrent": "0"}, "max_concurrent", "greater than or equal to 1"),
        ({"base": "run.stepz 3"}, "base", "unknown setting"),
        ({"base": "run.steps"}, "base", "has no value"),
        ({"base": "run.steps ="}, "base", "has no value"),
        ({"base": "= 3"}, "base", "has no value"),
        ({"base": "run.seed 3"}, "base", "a sweep sets run.seed itself"),
        ({"base": "run.num_workers -1"}, "base", "run.num_workers: Input should be"),
        ({"low:noise.renoise_mean": "3"}, "noise.renoise_mean", "low must be below high, and 3 is not below 1"),
        ({"high:noise.renoise_mean": "wide"}, "noise.renoise_mean", "wide is no number"),
        ({"low:noise.renoise_std": "-1"}, "noise.renoise_std", "the configuration refuses"),
        ({"use:noise.levels": "on", "values:noise.levels": "[1, 2"}, "noise.levels", "is no list"),
        ({"use:noise.levels": "on", "values:noise.levels": "[0.5, 1, 2, 3]"}, "noise.levels", "must fall from 1"),
        ({"use:noise.renoise_mean": "", "use:noise.renoise_std": ""}, "space", "tick at least one"),
        ({"space": "search:nowhere"}, "space", "there is no space"),
    ],
)
def test_error_stands_at_its_field(
    person: TestClient, pretended: PretendedCluster, runs: Path, changes: dict[str, str], field: str, text: str
) -> None:
    (runs / "taken").mkdir(parents=True)
    answer = send(person, {**ORDER, **RANGES, **changes})
    assert answer.status_code == 422
    errors = errors_of(answer.text)
    assert list(errors) == [field]
    assert text in errors[field]
    assert not pretended.jobs
    assert not (runs / "mine").exists()


def test_all_errors_come_at_once(person: TestClient) -> None:
    wrong = {
        "samples": "0",
        "seeds": "x",
        "name": "a b",
        "low:noise.renoise_mean": "3",
        "high:noise.renoise_std": "wide",
    }
    errors = errors_of(send(person, {**ORDER, **RANGES, **wrong}).text)
    assert set(errors) == {"samples", "seeds", "name", "noise.renoise_mean", "noise.renoise_std"}


def test_refused_form_keeps_what_was_typed(person: TestClient) -> None:
    typed = {**ORDER, **RANGES, "samples": "0", "name": 'a"><script>alert(1)</script>', "base": "</textarea><script>"}
    page = send(person, typed).text
    assert 'value="-1.5"' in page
    assert "<script>alert" not in page
    assert "&lt;/textarea&gt;" in page
    assert 'name="use:noise.renoise_mean" checked' in page
    assert 'name="use:noise.levels" checked' not in page


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("data.heldout_prompts /d/a=b.txt", "/d/a=b.txt"),
        ("data.heldout_prompts=/d/a b=c.txt", "/d/a b=c.txt"),
        ("  data.heldout_prompts  =  /d/a.txt  ", "/d/a.txt"),
    ],
)
def test_value_of_a_setting_may_hold_anything(line: str, value: str) -> None:
    assert read_base({"base": f"run.num_workers 0\n\n{line}\n"}) == {
        "run.num_workers": "0",
        "data.heldout_prompts": value,
    }


def test_sweep_is_followed(person: TestClient, pretended: PretendedCluster, runs: Path) -> None:
    started(person, runs)
    pretended.log = "\n".join(f"\x1b[36m0 %\rline {number} <b>\x1b[0m" for number in range(1000))
    page = person.get("/sweeps/mine").text
    assert "7 of 18 trials have ended (7 done)" in page
    assert "line 999 &lt;b&gt;" in page
    assert "line 600 " not in page
    assert "0 %" not in page
    assert "\x1b" not in page
    assert "7 of 18" in person.get("/").text


def test_sweep_stops_and_goes_on(person: TestClient, pretended: PretendedCluster, runs: Path) -> None:
    started(person, runs)
    assert send(person, {}, path="/sweeps/mine/stop", page="/sweeps/mine").status_code == 303
    assert pretended.jobs[0].status == Status.STOPPED
    assert ">Go on<" in person.get("/sweeps/mine").text
    assert send(person, {}, path="/sweeps/mine/resume", page="/sweeps/mine").status_code == 303
    first, second = pretended.jobs
    assert first.entrypoint == second.entrypoint
    assert first.submission_id != second.submission_id
    assert ">Stop<" in person.get("/sweeps/mine").text
    send(person, {}, path="/sweeps/mine/resume", page="/sweeps/mine")
    assert len(pretended.jobs) == 2


def test_only_our_jobs_are_listed(person: TestClient, pretended: PretendedCluster, tmp_path: Path) -> None:
    elsewhere = {"ladd_ray": "sweep", "sweep": "elsewhere", "folder": str(tmp_path / "other" / "elsewhere")}
    pretended.jobs += [Job("python x.py", "x", {}, 1), Job("python y.py", "y", elsewhere, 2), Job("z", None, None, 3)]
    page = person.get("/").text
    assert "elsewhere" not in page
    assert "There is none yet" in page


def test_sweeps_of_the_command_line_are_listed_without_a_job(person: TestClient, runs: Path) -> None:
    write_sweep(runs / "old", sweep_record(PLANE, grid=True, ended=START), plane_trials())
    page = person.get("/").text
    assert ">old<" in page
    assert ">finished<" in page
    assert "The cluster knows no job" in person.get("/sweeps/old").text


def test_files_of_a_sweep(person: TestClient, runs: Path) -> None:
    started(person, runs)
    inside = runs / "mine" / "trials" / "000"
    inside.mkdir(parents=True)
    for name in ("note.md", "evil.html", "weights.safetensors"):
        (inside / name).write_text("<script>alert(1)</script>")
    for folder in (runs / "mine", inside):
        (folder / "report.html").write_text("<!doctype html>")
    files = "/sweeps/mine/files"
    report = person.get(f"{files}/report.html")
    assert report.headers["content-type"].startswith("text/html")
    policy = report.headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" in policy
    # A window of the form could be filled in and sent.
    assert "sandbox allow-scripts allow-same-origin" in policy.split("; ")
    assert "worker-src 'none'" in policy
    assert "note.md" in person.get(f"{files}/trials/000/").text
    assert person.get(f"{files}/trials").headers["location"] == "trials/"
    assert person.get(f"{files}/trials/000/note.md").headers["content-type"].startswith("text/plain")
    for name in ("evil.html", "report.html", "weights.safetensors"):
        answer = person.get(f"{files}/trials/000/{name}")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["../secret", "%2e%2e/secret", "trials/../../secret", "link", "/etc/passwd", "nothing"]
)
def test_files_outside_stay_outside(person: TestClient, runs: Path, path: str) -> None:
    started(person, runs)
    (runs / "secret").write_text("treasure")
    (runs / "mine" / "link").symlink_to(runs / "secret")
    answer = person.get(f"/sweeps/mine/files/{path}")
    assert answer.status_code in (303, 404)
    assert "treasure" not in answer.text


def test_unknown_sweep_is_not_found(person: TestClient) -> None:
    answer = person.get("/sweeps/nobody")
    assert answer.status_code == 404
    assert "There is no sweep called nobody" in answer.text


def test_folder_without_records_is_no_sweep(person: TestClient, runs: Path) -> None:
    (runs / "plain").mkdir(parents=True)
    (runs / "broken").mkdir()
    (runs / "broken" / SWEEP_FILE).write_text("{")
    assert person.get("/").status_code == 200
    assert person.get("/sweeps/plain").status_code == 404
