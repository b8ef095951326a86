"""Image-text towers: gradients reach images and not towers; texts in every alphabet; weights and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from raylift.core.errors import ConfigError, WeightsError
from raylift.losses.image_text import cosine_loss
from raylift.models.image_text.config import ImageTextConfig
from raylift.models.image_text.model import ImageTextTrainer
from raylift.networks.image_text.hashed_text import hashed_ngrams
from raylift.networks.image_text.opening import check_source, open_image_text
from raylift.networks.image_text.run_towers import towers_of_run
from raylift.networks.image_text.towers import FrozenImageText, fit_square
from raylift.networks.image_text.two_tower import TwoTowerConfig
from raylift.training.checkpoint import CheckpointStore

TEXTS = ["a wooden chair", "木の椅子", "деревянный стул", ""]
SMALL = TwoTowerConfig(image_px=32, width=4, num_features=8, num_buckets=64, embedding=8)


class Generator(nn.Module):
    """The smallest generator of images with coverage."""

    def __init__(self) -> None:
        super().__init__()
        self.colors = nn.Parameter(torch.full((1, 3, 6, 6), 0.4))
        self.alpha = nn.Parameter(torch.full((1, 1, 6, 6), 0.6))

    def forward(self) -> torch.Tensor:
        size = (40, 40)
        color, alpha = (
            nn.functional.interpolate(part, size, mode="bilinear", align_corners=False)
            for part in (self.colors, self.alpha)
        )
        return alpha * color + (1 - alpha)


def check_gradients(frozen: FrozenImageText) -> None:
    """A generator gets a gradient from its caption, through the render; no tower does."""
    generator = Generator()
    image = generator()
    image.retain_grad()
    features = frozen.encode_image(image)
    text = frozen.encode_text(["a red chair"], features)
    assert features.shape == text.shape == (1, frozen.num_features)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1))
    cosine_loss(features, text).sum().backward()
    for gradient in (image.grad, generator.colors.grad, generator.alpha.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 1e-6
    assert not text.requires_grad
    assert all(parameter.grad is None for parameter in frozen.towers.parameters())


def test_the_gradient_of_a_caption_reaches_the_generator() -> None:
    check_gradients(open_image_text("random"))


def test_following_that_gradient_brings_the_image_to_its_caption() -> None:
    frozen, generator = open_image_text("random"), Generator()
    optimizer = torch.optim.Adam(generator.parameters(), 0.05)
    losses = []
    for _ in range(12):
        features = frozen.encode_image(generator())
        losses.append(cosine_loss(features, frozen.encode_text(["a red chair"], features)).sum())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.01


def test_the_resize_has_the_derivative_of_its_values() -> None:
    image = 0.2 + 0.6 * torch.rand(1, 3, 9, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: fit_square(x, 5), image.requires_grad_(), atol=1e-6)


def test_images_of_any_size_fit() -> None:
    for height, width in ((32, 32), (20, 20), (64, 64), (33, 70), (90, 31)):
        fitted = fit_square(torch.full((2, 3, height, width), 0.25), 32)
        assert fitted.shape == (2, 3, 32, 32)
        torch.testing.assert_close(fitted, torch.full_like(fitted, 0.25))
    half = fit_square(torch.rand(1, 3, 64, 64).bfloat16(), 32)
    assert half.dtype == torch.float32


def test_a_resized_image_stays_in_range() -> None:
    image = (torch.rand(1, 3, 31, 31, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    fitted = fit_square(image, 64)
    assert fitted.min() >= 0
    assert fitted.max() <= 1


def test_texts_are_encoded_once_and_as_they_are_alone() -> None:
    frozen = open_image_text("random")
    like = torch.zeros(1)
    together = frozen.encode_text(TEXTS, like)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(TEXTS)))
    calls: list[int] = []
    own = frozen.towers.encode_text
    frozen.towers.encode_text = lambda texts: calls.append(len(texts)) or own(texts)  # type: ignore[func-returns-value,method-assign]
    again = frozen.encode_text([TEXTS[1], TEXTS[0], TEXTS[1]], like)
    assert not calls
    torch.testing.assert_close(again, together[[1, 0, 1]])
    alone = open_image_text("random").encode_text([TEXTS[2]], like)
    torch.testing.assert_close(alone[0], together[2])
    distances = (together[:, None] - together[None]).norm(dim=-1) + torch.eye(len(TEXTS))
    assert distances.min() > 0.05, "two texts have one feature"


def test_ngrams_unify_case_and_width_and_relate_stems() -> None:
    assert hashed_ngrams("A Chair!", 4096) == hashed_ngrams("a \uff43\uff48\uff41\uff49\uff52", 4096)

    def shared(first: str, second: str) -> int:
        return len(set(hashed_ngrams(first, 1 << 30)) & set(hashed_ngrams(second, 1 << 30)))

    assert shared("armchair", "chairs") > shared("armchair", "table") == 0
    assert shared("木の椅子", "椅子") > 0
    assert hashed_ngrams("", 8) == hashed_ngrams("!?", 8)


# --- towers of a run ------------------------------------------------------------------------------------------------


def write_run(folder: Path, towers: bool = True, num_steps: int = 2) -> dict[int, ImageTextTrainer]:
    store = CheckpointStore(folder / "checkpoints", keep_last=5)
    model = {"towers": vars(SMALL)} if towers else {"width": 3}
    schedule = {"best_metric": "val/top1", "best_is": "max"}
    recipe = {"name": "some/quick", "model": model, "schedule": schedule}
    models = {step: ImageTextTrainer(ImageTextConfig(SMALL), seed=step) for step in (1, 2)}
    for step, metric in ((1, 0.5), (2, 0.25)):
        store.write(step, num_steps, models[step], {}, recipe, {"val/top1": metric})
    return models


def test_towers_come_from_the_best_checkpoint_of_a_run(tmp_path: Path) -> None:
    best = write_run(tmp_path)[1].towers
    found = open_image_text(f"run:{tmp_path}")
    image = torch.rand(2, 3, 50, 50)
    torch.testing.assert_close(found.encode_image(image), best.encode_image(image).detach())
    torch.testing.assert_close(found.encode_text(TEXTS, image), best.encode_text(TEXTS).detach())
    check_gradients(found)


def test_a_run_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no checkpoint"):
        towers_of_run(str(tmp_path / "none"))
    write_run(tmp_path / "other", towers=False)
    with pytest.raises(ConfigError, match="no text tower"):
        towers_of_run(str(tmp_path / "other"))
    write_run(tmp_path / "short", num_steps=3)
    with pytest.raises(WeightsError, match="step 2 of 3"):
        towers_of_run(str(tmp_path / "short"))
    write_run(tmp_path / "broken")
    (tmp_path / "broken" / "checkpoints" / "step-00000001.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged"):
        towers_of_run(str(tmp_path / "broken"))


def test_a_source_has_a_form() -> None:
    for source in ("", "clip", "run:", ":file"):
        with pytest.raises(ConfigError, match="run:FOLDER"):
            check_source(source)


# --- CLIP -----------------------------------------------------------------------------------------------------------

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
"""open_clip's own form of a model's settings, as small as it can be."""


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**CLIP)
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.2, 0.1]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": preprocess}))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


def test_clip_from_a_local_folder(clip_folder: Path) -> None:
    import open_clip

    frozen = open_image_text(f"local-dir:{clip_folder}")
    assert (frozen.towers.image_px, frozen.num_features) == (32, 16)
    torch.testing.assert_close(frozen.towers.std.flatten(), torch.tensor([0.3, 0.2, 0.1]))
    check_gradients(frozen)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(TEXTS)
    theirs = model.eval().encode_text(tokens, normalize=True).detach()
    torch.testing.assert_close(frozen.encode_text(TEXTS, torch.zeros(1)), theirs, atol=1e-5, rtol=0)


def test_our_preprocessing_is_open_clips_own(clip_folder: Path) -> None:
    """To the rounding of their bytes: we resize floats inside of the graph."""
    import open_clip
    from PIL import Image

    frozen = open_image_text(f"local-dir:{clip_folder}")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    waves = torch.linspace(0, 9, 57)
    image = torch.stack([0.5 + 0.5 * torch.sin(waves[:, None] * (k + 1) / 3 + waves) for k in range(3)])
    pixels = (255 * image).round().byte()
    theirs = preprocess(Image.fromarray(pixels.permute(1, 2, 0).numpy()))
    ours = (fit_square(pixels[None] / 255, 32) - frozen.towers.mean) / frozen.towers.std
    assert (ours[0] - theirs).abs().max() < 1.5 / 255 / 0.1
    features = model.eval().encode_image(theirs[None], normalize=True)
    torch.testing.assert_close(frozen.encode_image(pixels[None] / 255), features.detach(), atol=0.01, rtol=0)


def test_missing_weights_and_other_architectures_say_so(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no open_clip_config\.json"):
        open_image_text(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text((clip_folder / "open_clip_config.json").read_text())
    with pytest.raises(WeightsError, match="no weights"):
        open_image_text(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes((clip_folder / "open_clip_pytorch_model.bin").read_bytes())
    text_cfg = {**CLIP["text_cfg"], "width": 48}  # type: ignore[dict-item]
    for other in ({**CLIP, "embed_dim": 24}, {**CLIP, "text_cfg": text_cfg}):
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": other}))
        with pytest.raises(WeightsError, match="architecture"):
            open_image_text(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        open_image_text(f"local-dir:{tmp_path}")
    with pytest.raises(ConfigError, match="ViT-B-16"):
        open_image_text("ViT-B-99:file.pt")
    with pytest.raises(ConfigError, match="ViT-B-16"):
        open_image_text("nothing:file.pt")
    with pytest.raises(WeightsError, match="no weights"):
        open_image_text(f"ViT-B-16:{tmp_path / 'none.pt'}")


def test_published_weights_are_taken_from_the_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("open_clip")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(WeightsError, match="not in the Hugging Face cache"):
        open_image_text("ViT-B-16:laion2b_s34b_b88k")
