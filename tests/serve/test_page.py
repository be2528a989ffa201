"""The page as its visitors' browsers meet it: beside the API, and no way round it."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from serve.page.components import Painting
from tests.inference.models import hole, photo
from tests.serve.endpoints import KEY
from tests.serve.page_visits import TIMEOUT_S, Visit, url_of, words_of
from tests.serve.pictures import alpha_mask, data_url, photo_file, pictures, pixels_of, png, white_mask


@pytest.fixture(scope="module")
def visit(address: str) -> Visit:
    return Visit(address, key=KEY)


def generate(visit: Visit, **changes: Any) -> list[Any]:
    """What the page shows after a click on Draw."""
    fields = {"model": "student", "prompt": "a cat", "size": "64x64", "n": 1, "steps": 2, "text": 3.0, "seed": 5}
    return visit.ask("_generate", *{**fields, **changes}.values())


def test_page_lies_at_the_root_and_loads_nothing_from_elsewhere(address: str) -> None:
    answer = httpx2.get(address, timeout=TIMEOUT_S)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']([^\"']+)", answer.text)
    assert loaded
    assert not [url for url in loaded if url.startswith(("http", "//"))]
    theme = httpx2.get(f"{address}/theme.css", timeout=TIMEOUT_S).text
    assert not re.findall(r"url\([\"']?(?:https?:)?//", theme)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/health", 405),
        ("GET", "/v1/models", 401),
        ("POST", "/gradio_api/upload", 404),
        ("POST", "/gradio_api/run/_generate", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("GET", "/gradio_api/file=/etc/passwd", 404),
        ("GET", "/login", 404),
    ],
)
def test_all_other_addresses_are_the_apis(address: str, method: str, path: str, status: int) -> None:
    answer = httpx2.request(method, f"{address}{path}", timeout=TIMEOUT_S)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert httpx2.get(f"{address}/health", timeout=TIMEOUT_S).status_code == 200


def test_events_carry_no_files(visit: Visit) -> None:
    file = {"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}
    refused = visit.join("_came", "student", file)
    assert refused.status_code == 400
    assert "texts" in refused.json()["error"]["message"]


@pytest.mark.parametrize(("key", "words"), [("", "asks for a key."), ("wrong", "does not know this one")])
def test_whoever_has_no_key_only_gets_as_far_as_the_door(address: str, key: str, words: str) -> None:
    stranger = Visit(address, key=key)
    notice, entrance, room, *_ = stranger.ask("_arrive", "")
    assert words in words_of(notice)
    assert (entrance["visible"], room["visible"]) == (True, False)
    notice, gallery, *_ = generate(stranger)
    assert "asks for a key" in words_of(notice)
    assert "value" not in gallery
    refused = stranger.join("_came", "student", "x" * 20_000)
    assert refused.status_code == 400
    assert "key" in refused.json()["error"]["message"]


def test_arriving_shows_the_models_and_fits_the_page_to_the_first(visit: Visit) -> None:
    notice, entrance, room, models, heading, size, steps, *_ = visit.ask("_arrive", "")
    assert words_of(notice) == ""
    assert (entrance["visible"], room["visible"]) == (False, True)
    assert models["value"] == "student"
    assert [value for _, value in models["choices"]] == ["student", "guided"]
    assert "1 to 4 steps" in words_of(heading)
    assert size["value"] == "64x64"
    assert (steps["maximum"], steps["value"]) == (4, 4)


def test_a_model_that_only_generates_says_so_in_the_other_tabs(visit: Visit) -> None:
    updates = visit.ask("_choose", "guided")
    said = [words_of(update) for update in updates if isinstance(update, dict) and update.get("value")]
    assert sum("guided only generates" in words for words in said) == 2


def test_a_drawing_is_the_apis_to_the_byte(visit: Visit, client: openai.OpenAI) -> None:
    _, gallery, caption, *_ = generate(visit)
    asked = {"seed": 5, "num_inference_steps": 2, "text_guidance": 3.0}
    expected = client.images.generate(prompt="a cat", model="student", size="64x64", extra_body=asked)
    assert url_of(gallery) == f"data:image/png;base64,{expected.data[0].b64_json}"
    assert re.fullmatch(r"seed 5 · 64x64 · 2 steps · [\d.]+ s · student [0-9a-f]{16}", caption)


def test_a_draft_is_one_picture_of_one_step(visit: Visit) -> None:
    fields = ["student", "a cat", "64x64", 4, 4, 3.0, 5]
    _, gallery, caption, *_ = visit.ask("_draft", True, *fields)
    assert len(gallery["value"]) == 1
    assert caption.startswith("draft · seed 5 · 64x64 · 1 step ·")


def test_where_nothing_is_to_be_drafted_everything_stays_as_it_is(visit: Visit) -> None:
    for typing, prompt in ((False, "a cat"), (True, " ")):
        updates = visit.ask("_draft", typing, "student", prompt, "64x64", 1, 4, 3.0, 5)
        assert updates
        assert not any(update is None or {"value", "visible"} & set(update) for update in updates)


def test_an_edit_shows_before_and_after(visit: Visit, client: openai.OpenAI) -> None:
    held = Painting(data_url(photo_file())).value()
    _, (before, after), *_ = visit.ask("_change", "student", held, "blue background", 2, 3, 4.5, 2.0)
    asked = {"seed": 3, "num_inference_steps": 2, "text_guidance": 4.5, "image_guidance": 2.0}
    expected = client.images.edit(prompt="blue background", image=photo_file(), extra_body=asked)
    assert before["url"] == data_url(photo_file())
    assert after["url"] == f"data:image/png;base64,{expected.data[0].b64_json}"


def test_filling_keeps_what_was_not_painted(visit: Visit, client: openai.OpenAI) -> None:
    held = Painting(data_url(photo_file()), data_url(white_mask())).value()
    _, (_, after), *_ = visit.ask("_change", "student", held, "a cat", 2, 3)
    found = pixels_of(after["url"].partition(",")[2])
    assert np.array_equal(found[~hole()], photo()[~hole()])
    asked = {"seed": 3, "num_inference_steps": 2}
    expected = client.images.edit(prompt="a cat", image=photo_file(), mask=alpha_mask(), extra_body=asked)
    assert np.array_equal(found, pictures(expected)[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": " "}, "prompt"),
        ({"size": "65x64"}, "multiples of 16"),
        ({"size": "huge"}, "size"),
        ({"n": 11}, "less than or equal to 10"),
        ({"steps": 9}, "1 to 4 steps"),
        ({"text": 99.0}, "1.5..5"),
        ({"model": "nobody"}, "'nobody' does not exist"),
    ],
)
def test_the_apis_refusals_are_said_in_words(visit: Visit, changes: dict[str, Any], words: str) -> None:
    notice, gallery, *_ = generate(visit, **changes)
    assert words in words_of(notice)
    assert "Traceback" not in words_of(notice)
    assert "value" not in gallery


@pytest.mark.parametrize(
    ("held", "words"),
    [("", "choose a picture first"), (Painting(data_url(photo_file())).value(), "paint over what is to change")],
)
def test_what_is_missing_is_said(visit: Visit, held: str, words: str) -> None:
    notice, *_ = visit.ask("_change", "student", held, "a cat", 2, 3)
    assert words_of(notice) == words


def test_an_upload_is_made_fit_for_the_model(visit: Visit) -> None:
    large = png(photo(height=90, width=120))
    _, held = visit.ask("_came", "student", Painting(data_url(large)).value())
    assert "scaled and cut to 64x48 for this model" in held
    notice, held = visit.ask("_came", "student", Painting(data_url(b"no picture")).value())
    assert "no whole PNG" in words_of(notice)
    assert held == ""


def test_the_request_runs_elsewhere(visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gallery, _, _, curl, python = generate(visit)
    assert KEY not in curl + python
    monkeypatch.setenv("IMAGES_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    exec(compile(python, "snippet", "exec"), {})
    expected = url_of(gallery).partition(",")[2]
    assert base64.b64encode((tmp_path / "5.png").read_bytes()).decode() == expected
    ran = subprocess.run(["bash", "-c", curl], check=True, timeout=TIMEOUT_S, capture_output=True)
    assert expected in ran.stdout.decode()
