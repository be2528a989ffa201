"""Requests are checked strictly: what is unknown, impossible or without effect names its parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from ladd_ray.inference.facts import ModelFacts
from ladd_ray.models.strengths import Knob, Knobs
from serve.errors import ApiError, from_validation
from serve.orders import Given, make_order
from serve.schemas import EditOptions, EditRequest, GenerateRequest
from tests.inference.models import KNOBS, hole, photo

FACTS = ModelFacts("f" * 16, True, 64, 16, 256, 4, 4, KNOBS)
MOST = 128 * 128


def order(facts: ModelFacts = FACTS, given: Given | None = None, **fields: Any) -> Any:
    kind = GenerateRequest if given is None else EditOptions
    return make_order(kind(prompt="a red apple", **fields), facts, given=given, max_pixels=MOST)


def blamed(**fields: Any) -> str | None:
    with pytest.raises(ApiError) as caught:
        order(**fields)
    assert caught.value.refusal.status == 400
    return caught.value.refusal.param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "  \n"}, "prompt"),
        ({"prompt": "a\0b"}, "prompt"),
        ({"prompt": "a" * 4001}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "n": 11}, "n"),
        ({"prompt": "a", "n": "2"}, "n"),
        ({"prompt": "a", "n": True}, "n"),
        ({"prompt": "a", "size": "64"}, "size"),
        ({"prompt": "a", "size": "0x64"}, "size"),
        ({"prompt": "a", "size": "64x64\n"}, "size"),
        ({"prompt": "a", "output_format": "gif"}, "output_format"),
        ({"prompt": "a", "output_format": "jpeg", "output_compression": 101}, "output_compression"),
        ({"prompt": "a", "partial_images": 4, "stream": True}, "partial_images"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "seed": 1.5}, "seed"),
        ({"prompt": "a", "num_inference_steps": 0}, "num_inference_steps"),
        ({"prompt": "a", "text_guidance": float("nan")}, "text_guidance"),
        ({"prompt": "a", "background": "transparent"}, "background"),
        ({"prompt": "a", "quality": "high"}, "quality"),
        ({"prompt": "a", "image_guidance": 1.0}, "image_guidance"),
        ({"prompt": "a", "negative_prompt": "b"}, "negative_prompt"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        GenerateRequest.model_validate(fields)
    refusal = from_validation(caught.value).refusal
    assert (refusal.status, refusal.param) == (400, param)
    assert param in refusal.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"output_compression": 50}, "output_compression"),
        ({"partial_images": 1}, "partial_images"),
        ({"stream": True, "response_format": "url"}, "stream"),
        ({"seed": 2**53 - 1, "n": 2}, "seed"),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        GenerateRequest(prompt="a", **fields)
    assert from_validation(caught.value).refusal.param == param
    single = {"output_format": "webp"} if param == "output_compression" else {}
    GenerateRequest(prompt="a", **{**fields, "stream": param == "partial_images", "n": 1, **single})


def test_unknown_and_missing_fields_have_codes() -> None:
    for fields, code in (({"prompt": "a", "x": 1}, "unknown_parameter"), ({}, "missing_required_parameter")):
        with pytest.raises(ValidationError) as caught:
            GenerateRequest.model_validate(fields)
        assert from_validation(caught.value).refusal.code == code


def test_null_means_left_out() -> None:
    assert GenerateRequest.model_validate({"prompt": "a", "n": None, "size": None}) == GenerateRequest(prompt="a")


def test_forms_bring_their_numbers_as_text() -> None:
    found = EditOptions.model_validate_strings({"prompt": "a", "n": "2", "stream": "true", "seed": "7"}, strict=False)
    assert (found.n, found.stream, found.seed) == (2, True, 7)


def test_json_edits_name_their_pictures() -> None:
    url = {"image_url": "data:image/png;base64,YQ=="}
    assert EditRequest.model_validate_json('{"prompt": "a", "images": [{"image_url": "data:,"}]}').mask is None
    with pytest.raises(ValidationError) as caught:
        EditRequest.model_validate({"prompt": "a", "images": [{**url, "file_id": "x"}]})
    assert from_validation(caught.value).refusal.param == "images.0.file_id"


def test_an_order_takes_what_is_left_open_from_the_model() -> None:
    found = order(FACTS, n=3, seed=5)
    assert (found.task, found.width, found.height, found.num_inference_steps) == ("generate", 64, 64, 4)
    assert found.seeds == (5, 6, 7)
    assert order(FACTS, size="80x48").width == 80
    assert order(FACTS).seeds != order(FACTS).seeds


def test_a_picture_makes_an_edit_and_a_mask_a_filling() -> None:
    edit = order(FACTS, Given(photo()), text_guidance=4.0, image_guidance=2.0)
    assert (edit.task, edit.text_guidance, edit.image_guidance) == ("edit", 4.0, 2.0)
    assert order(FACTS, Given(photo(), hole()), size="64x64").task == "inpaint"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "72x64"}, "size"),
        ({"size": "272x128"}, "size"),
        ({"size": "144x128"}, "size"),
        ({"size": "128x32"}, "size"),
        ({"num_inference_steps": 5}, "num_inference_steps"),
        ({"text_guidance": 9.0}, "text_guidance"),
        ({"given": Given(photo()), "image_guidance": 9.0}, "image_guidance"),
        ({"given": Given(photo()), "size": "128x128"}, "size"),
        ({"given": Given(photo(height=72))}, "image"),
        ({"given": Given(photo(), hole()), "text_guidance": 3.0}, "text_guidance"),
        ({"given": Given(photo(), hole()), "image_guidance": 2.0}, "image_guidance"),
        ({"facts": replace(FACTS, knobs=None), "text_guidance": 3.0}, "text_guidance"),
        ({"facts": replace(FACTS, edits=False), "given": Given(photo())}, "model"),
    ],
)
def test_what_the_model_cannot_do_names_the_parameter(fields: dict[str, Any], param: str) -> None:
    assert blamed(**fields) == param


def test_the_picture_of_a_guided_model_only_leads_where_its_words_do() -> None:
    neutral, given = Knobs(text=Knob(1.0, 20.0, 4.0), image=Knob(1.0, 5.0, 1.0)), Given(photo())
    guided = replace(FACTS, knobs=neutral, guided=True)
    assert blamed(facts=guided, given=given, text_guidance=1.0, image_guidance=2.0) == "image_guidance"
    for fields in ({"image_guidance": 2.0}, {"text_guidance": 1.0}, {"text_guidance": 1.0, "image_guidance": 1.0}):
        order(guided, given, **fields)
    order(replace(guided, guided=False), given, text_guidance=1.0, image_guidance=2.0)
