"""The embedded tokenizers: one token for each word, and words that join later."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from ladd_ray.models.tokenizer import add_words, build_tokenizer

WORDS = ["a", "cat", "cats", "on", "red"]
NEW = ["catch", "on", "replace", "with"]
PROMPTS = ["a cat on red", "cats", "", "a red cat on a red cats"]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return build_tokenizer(WORDS, tmp_path_factory.mktemp("known"), max_tokens=9)


def test_every_word_is_one_token(known: CLIPTokenizer) -> None:
    assert [len(known.tokenize(word)) for word in WORDS] == [1] * len(WORDS)
    assert len(known("a cat on red", padding="max_length").input_ids) == 9
    assert len(known.tokenize("dog")) == 3


def test_added_words_are_one_token_and_known_ones_keep_their_number(known: CLIPTokenizer, tmp_path: Path) -> None:
    wider = add_words(known, NEW, tmp_path)
    assert [len(wider.tokenize(word)) for word in WORDS + NEW] == [1] * len(WORDS + NEW)
    assert wider(PROMPTS, padding="max_length").input_ids == known(PROMPTS, padding="max_length").input_ids
    assert (wider.bos_token_id, wider.eos_token_id) == (known.bos_token_id, known.eos_token_id)
    assert wider.model_max_length == known.model_max_length
    assert min(wider.convert_tokens_to_ids(wider.tokenize("replace with"))) >= len(known)
