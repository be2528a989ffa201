"""CLIP score with a stand-in for open-clip: what it computes, and that it refuses everything that would be fetched."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ladd_ray.evaluation.clip import ClipScorer, clip_label, require_clip
from ladd_ray.evaluation.metrics import Asked

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class ColourClip(torch.nn.Module):
    """Embeds a picture as its mean colour and a prompt as the colour it names."""

    def encode_image(self, images):
        return images.mean(dim=(2, 3))

    def encode_text(self, texts):
        return texts


@pytest.fixture
def open_clip(monkeypatch):
    """Stands for the library; notes what was loaded."""
    configs = {
        "ViT-B-32": {"text_cfg": {"context_length": 77}},
        "roberta-ViT-B-32": {"text_cfg": {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base"}},
        "ViT-B-16-SigLIP": {"text_cfg": {"context_length": 64}},
    }

    def create_model_and_transforms(model, *, pretrained):
        library.loaded.append((model, pretrained))
        return ColourClip(), None, lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255

    library = SimpleNamespace(
        loaded=[],
        get_model_config=configs.get,
        create_model_and_transforms=create_model_and_transforms,
        get_tokenizer=lambda model: lambda texts: torch.tensor([COLOURS[text] for text in texts]),
    )
    monkeypatch.setitem(sys.modules, "open_clip", library)
    return library


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    return path


def painted(*names):
    return [np.broadcast_to(np.uint8(255 * np.array(COLOURS[name])), (16, 24, 3)) for name in names]


def test_it_is_the_mean_cosine_and_shuffling_shows(open_clip, weights):
    scorer = ClipScorer("ViT-B-32", weights)
    names = ("red", "green", "blue") * 15  # more than one batch
    asked = Asked(names)
    right, wrong = (scorer(painted(*names), prompts)["clip"] for prompts in (asked, asked.shuffled()))
    assert (right["value"], wrong["value"]) == (pytest.approx(100), pytest.approx(0))
    assert scorer(painted("red", "red"), Asked(("red", "blue")))["clip"]["value"] == pytest.approx(50)
    assert right["num_pictures"] == 45
    assert right["name"] == f"CLIP score-{clip_label('ViT-B-32', weights)}"
    assert open_clip.loaded == [("ViT-B-32", str(weights))]


def test_the_label_follows_the_weights(weights):
    label = clip_label("ViT-B-32", weights)
    weights.write_bytes(b"other weights")
    assert clip_label("ViT-B-32", weights) != label


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ViT-B-33", "no architecture 'ViT-B-33'"),
        ("hf-hub:laion/CLIP-ViT-B-32", "no architecture"),
        ("roberta-ViT-B-32", "fetched from the hub"),
        ("ViT-B-16-SigLIP", "fetched from the hub"),
    ],
)
def test_what_would_be_fetched_is_refused(open_clip, weights, model, message):
    with pytest.raises(ValueError, match=message):
        ClipScorer(model, weights)
    assert not open_clip.loaded


def test_missing_weights_are_refused(open_clip, tmp_path):
    with pytest.raises(ValueError, match=r"set clip\.weights"):
        require_clip("ViT-B-32", tmp_path / "nothing.pt")


def test_a_missing_library_says_how_to_get_it(monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ladd-ray\[clip\]'"):
        require_clip("ViT-B-32", weights)
