from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ladd_ray.models import folder


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_pipeline_folder_is_accepted(tiny_folder: Path) -> None:
    assert folder.require_sd3(tiny_folder)["vae"] == ["diffusers", "AutoencoderKL"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model folder"):
        folder.require_sd3(tmp_path / "nothing")


def test_a_part_of_a_pipeline_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="model_index"):
        folder.require_sd3(tiny_folder / "transformer")


@pytest.mark.parametrize("transformer", [["diffusers", "FluxTransformer2DModel"], None])
def test_another_family_is_refused(copy: Path, transformer: list[str] | None) -> None:
    edit_json(copy / "model_index.json", transformer=transformer)
    with pytest.raises(ValueError, match="only the Stable Diffusion 3 family"):
        folder.load_transformer(copy, precision="fp32")


def test_only_names_without_a_folder_here_mean_the_hub(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert folder.require_sd3("stabilityai/stable-diffusion-3.5-large") == {}
    for local in ("models/forgotten", "forgotten", "./models/x", "a/b/c", str(tiny_folder)):
        assert not folder.is_hub_name(local)
    with pytest.raises(ValueError, match="no model folder"):
        folder.require_sd3("models/forgotten")


def test_an_unreachable_hub_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> str:
        raise OSError("offline")

    monkeypatch.setattr(folder.StableDiffusion3Pipeline, "download", unreachable)
    with pytest.raises(ValueError, match=r"nobody/nothing.*offline"):
        folder.local_copy("nobody/nothing")


def test_fingerprint_follows_weights_and_configuration_only(tiny_folder: Path, copy: Path) -> None:
    original = folder.fingerprint(tiny_folder)
    (copy / "README.md").write_text("another text")
    assert len(original) == 16
    assert folder.fingerprint(copy) == original

    edit_json(copy / "scheduler" / "scheduler_config.json", shift=2.0)
    shifted = folder.fingerprint(copy)
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["proj_out.bias"] += 1
    save_file(weights, file)
    assert len({original, shifted, folder.fingerprint(copy)}) == 3


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_transformer_loads_in_the_asked_precision(
    tiny_folder: Path, precision: folder.Precision, dtype: torch.dtype
) -> None:
    stored = load_file(tiny_folder / "transformer" / "diffusion_pytorch_model.safetensors")
    transformer = folder.load_transformer(tiny_folder, precision=precision)
    assert {parameter.dtype for parameter in transformer.parameters()} == {dtype}
    torch.testing.assert_close(transformer.proj_out.weight.data, stored["proj_out.weight"].to(dtype), rtol=0, atol=0)


def test_scheduler_shift(copy: Path) -> None:
    edit_json(copy / "scheduler" / "scheduler_config.json", shift=3.0)
    assert folder.scheduler_shift(copy) == 3.0
    edit_json(copy / "scheduler" / "scheduler_config.json", use_dynamic_shifting=True)
    with pytest.raises(ValueError, match=r"data\.shift"):
        folder.scheduler_shift(copy)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("sd3-medium", 2_028_328_000), ("sd3.5-medium", 2_243_171_520), ("sd3.5-large", 8_056_627_520)],
)
def test_named_shapes_have_the_released_sizes(name: str, parameters: int) -> None:
    transformer = folder.random_transformer(name, device="meta")
    assert sum(parameter.numel() for parameter in transformer.parameters()) == parameters


def test_random_weights_of_a_folder_have_its_shape_and_other_values(tiny_folder: Path) -> None:
    loaded = folder.load_transformer(tiny_folder, precision="fp32")
    drawn = folder.random_transformer(tiny_folder, precision="bf16")
    shapes = {name: tensor.shape for name, tensor in loaded.state_dict().items()}
    assert {name: tensor.shape for name, tensor in drawn.state_dict().items()} == shapes
    assert drawn.dtype == torch.bfloat16
    assert not torch.allclose(drawn.proj_out.weight.float(), loaded.proj_out.weight)
