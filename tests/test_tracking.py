"""Local history, MLflow across restarts and without a server, progress in a log file."""

import io
import json
import logging
import socket
import time

import pytest
from mlflow import MlflowClient

from ladd_ray import tracking
from ladd_ray.config import Config, override
from ladd_ray.tracking import LocalHistory, MlflowTracker, NullTracker, Progress, flatten


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'shared.db'}"


@pytest.fixture
def config(tmp_path, database):
    """A run of its own experiment; the tests share a database, since making one takes seconds."""
    changes = {"run.directory": tmp_path, "tracking.uri": database, "tracking.experiment": tmp_path.name}
    return override(Config(), {name: str(value) for name, value in changes.items()} | {"run.name": "one"})


def steps(client, run_id, name):
    return [point.step for point in client.get_metric_history(run_id, name)]


def test_history_drops_what_lies_beyond_the_resumed_step(tmp_path):
    history = LocalHistory(tmp_path / "new" / "metrics.jsonl")
    assert history.read() == []
    for step in (5, 10, 15):
        history.append({"student/loss": step / 10}, step)
    history.truncate(10)
    assert history.read() == [{"step": 5, "student/loss": 0.5}, {"step": 10, "student/loss": 1.0}]


def test_history_survives_a_torn_line(tmp_path):
    history = LocalHistory(tmp_path / "metrics.jsonl")
    history.append({"a": 1.0}, 5)
    with history.path.open("a") as file:
        file.write('{"step": 10, "a"')
    assert [line["step"] for line in history.read()] == [5]
    history.truncate(5)
    history.append({"a": 2.0}, 10)
    assert [line["step"] for line in history.read()] == [5, 10]


def test_flatten_names_settings_as_override_does():
    flat = flatten(Config().model_dump())
    assert flat["student.lr"] == Config().student.lr
    assert override(Config(), flat) == Config()


def test_run_continues_over_a_restart_without_double_steps(config, tmp_path):
    config = override(config, {"tracking.uri": None})
    first = MlflowTracker(config)
    assert (tmp_path / "mlflow.db").exists(), "by default the database lies beside the runs"
    for step in (5, 10, 15, 20):
        first.log_metrics({"student/loss": step / 10}, step)
    # Killed here. The last checkpoint was step 10, and steps 15 and 20 are computed again.
    second = MlflowTracker(config, step=10, run_id=first.run_id)
    for step in (15, 20, 25):
        second.log_metrics({"student/loss": step / 10}, step)
    second.finish()
    client = MlflowClient(second.uri)
    run = client.get_run(first.run_id)
    assert second.run_id == first.run_id
    assert steps(client, second.run_id, "student/loss") == [5, 10, 15, 20, 25]
    assert [line["step"] for line in second.history.read()] == [5, 10, 15, 20, 25]
    assert run.info.status == "FINISHED"
    assert run.data.params["student.lr"] == str(config.student.lr)
    assert run.data.tags["recipe"] == "stickers"
    assert len(client.search_runs([run.info.experiment_id])) == 1


def test_the_folder_remembers_the_run_before_the_first_checkpoint(config):
    first = MlflowTracker(config)
    second = MlflowTracker(config)
    assert second.run_id == first.run_id
    second.finish(failed=True)
    assert MlflowClient(second.uri).get_run(first.run_id).info.status == "FAILED"


def test_a_run_that_mlflow_forgot_is_begun_anew(config):
    tracker = MlflowTracker(config, run_id="0" * 32)
    assert tracker.run_id != "0" * 32
    assert MlflowClient(tracker.uri).get_run(tracker.run_id).info.run_name == "one"


def test_two_runs_share_an_experiment_and_artifacts_lie_beside_them(config, tmp_path):
    trackers = [MlflowTracker(override(config, {"run.name": name})) for name in ("one", "two")]
    note = tmp_path / "note.txt"
    note.write_text("hello")
    trackers[1].log_artifacts([note])
    client = MlflowClient(trackers[0].uri)
    one, two = (client.get_run(tracker.run_id).info for tracker in trackers)
    assert one.experiment_id == two.experiment_id
    assert [path.read_text() for path in (tmp_path / "mlflow-artifacts").rglob("note.txt")] == ["hello"]


def test_unreachable_server_warns_soon_and_keeps_the_metrics(config, caplog, tmp_path):
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        tracker = MlflowTracker(override(config, {"tracking.uri": "http://127.0.0.1:9"}))
        tracker.log_metrics({"student/loss": 0.5}, 5)
        tracker.log_artifacts([tmp_path / "absent.png"])
        tracker.finish()
    assert time.monotonic() - start < 10
    assert "127.0.0.1:9" in caplog.text
    assert "tracking.uri" in caplog.text
    assert tracker.run_id is None
    assert json.loads((config.run_directory / "metrics.jsonl").read_text()) == {
        "step": 5,
        "student/loss": 0.5,
    }


def refuse(uri):
    raise ConnectionRefusedError("no server")


def test_silent_server_does_not_hold_up_the_training(config):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        tracker = MlflowTracker(override(config, {"tracking.uri": uri}))
        tracker.log_metrics({"student/loss": 0.5}, 5)
    assert time.monotonic() - start < 9
    assert tracker.history.read() == [{"step": 5, "student/loss": 0.5}]


def test_metrics_are_sent_once_the_server_is_back(config, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr(tracking, "open_client", refuse)
        tracker = MlflowTracker(config)
        tracker.log_metrics({"student/loss": 0.5}, 5)
    assert caplog.text.count("no server") == 1, "between two tries the training must not wait"
    tracker.finish()
    assert steps(MlflowClient(tracker.uri), tracker.run_id, "student/loss") == [5]


def test_null_tracker_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = NullTracker()
    tracker.log_metrics({"a": 1.0}, 1)
    tracker.log_artifacts([])
    tracker.finish()
    assert tracker.run_id is None
    assert list(tmp_path.iterdir()) == []


def test_progress_in_a_log_file_is_a_few_plain_lines():
    stream = io.StringIO()
    progress = Progress(30, name="fast", step=10, stream=stream, interval_s=3600)
    metrics = {"student/loss": 0.25, "discriminator/loss": 1.95, "throughput/images_per_second": 41.0}
    progress.update(11, metrics)
    for step in range(12, 31):
        progress.update(step, {})
    progress.close()
    first, last = stream.getvalue().splitlines()
    assert first.startswith("fast: step 11/30  student 0.25  discriminator 1.95  images/s 41  ")
    assert last.startswith("fast: step 30/30  student 0.25")
    assert last.endswith("00:00 left")


def test_progress_on_a_terminal_is_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = Progress(4, name="fast", stream=stream)
    progress.update(4, {"student/loss": 0.25})
    progress.close()
    assert "fast" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert "student 0.25" in stream.getvalue()
    assert "left" not in stream.getvalue()
