"""The tokenizers of the embedded model: CLIP's byte pairs, with one token for each word of the world."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
START_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(words: Sequence[str], folder: Path, *, max_tokens: int) -> CLIPTokenizer:
    """A CLIP tokenizer that knows each of ``words`` as one token and spells other words in pieces.

    Args:
        words: the vocabulary, lower case.
        folder: where ``vocab.json`` and ``merges.txt`` are written.
        max_tokens: prompts are padded and cut to this length.
    """
    learned = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # A vocabulary without a ceiling merges until every word is whole.
    trainer = trainers.BpeTrainer(
        vocab_size=2**20, min_frequency=1, end_of_word_suffix=END_OF_WORD, show_progress=False
    )
    learned.train_from_iterator(words, trainer)
    bpe = json.loads(learned.to_str())["model"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *bpe["vocab"], START_TOKEN, END_TOKEN]
    numbered = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    _write_bpe(folder, numbered, bpe["merges"])
    return _clip_tokenizer(folder, max_tokens=max_tokens)


def add_words(tokenizer: CLIPTokenizer, words: Sequence[str], folder: Path) -> CLIPTokenizer:
    """A tokenizer that also knows each of ``words`` as one token, and all that it knew under its old number.

    Args:
        tokenizer: stays as it is.
        words: lower case; known ones change nothing.
        folder: where ``vocab.json`` and ``merges.txt`` are written.
    """
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary, merges = dict(bpe["vocab"]), [tuple(pair) for pair in bpe["merges"]]
    _write_bpe(folder, vocabulary, merges)
    for word in words:
        pieces = _clip_tokenizer(folder, max_tokens=tokenizer.model_max_length).tokenize(word)
        for end in range(1, len(pieces)):
            # Merges come in order of priority, so that one at the end never splits a word known before.
            merges.append(("".join(pieces[:end]), pieces[end]))
            vocabulary.setdefault("".join(pieces[: end + 1]), len(vocabulary))
        _write_bpe(folder, vocabulary, merges)
    return _clip_tokenizer(folder, max_tokens=tokenizer.model_max_length)


def _write_bpe(folder: Path, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = "\n".join(" ".join(pair) for pair in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n")


def _clip_tokenizer(folder: Path, *, max_tokens: int) -> CLIPTokenizer:
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=max_tokens, pad_token=END_TOKEN
    )
