"""CLIP through open_clip, from local files only: a folder, a file, or the Hugging Face cache."""

from __future__ import annotations

import difflib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import ConfigError, WeightsError
from raylift.networks.image_text.towers import ImageTextModel

LOCAL_DIR = "local-dir"
_CONFIG = "open_clip_config.json"
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_CACHED = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_READ_ERRORS = (
    *(RuntimeError, ValueError, KeyError, TypeError, OSError, EOFError, ImportError, pickle.UnpicklingError),
    AssertionError,  # open_clip's own, for position embeddings of another width
)


class OpenClipTowers(ImageTextModel):
    """A model of open_clip with its own tokenizer, image size, mean and standard deviation.

    Args:
        model: an open_clip model in evaluation precision, with ``encode_image`` and ``encode_text``.
        tokenizer: its tokenizer: texts to token numbers.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        settings = model.visual.preprocess_cfg
        size = settings["size"]
        super().__init__(
            size if isinstance(size, int) else size[0], _num_features(model), settings["mean"], settings["std"]
        )
        self.model = model
        self._tokenizer = tokenizer

    def image_features(self, pixels: Float[Tensor, "B 3 P P"]) -> Float[Tensor, "B D"]:
        features: Tensor = self.model.encode_image(pixels)
        return features

    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        features: Tensor = self.model.encode_text(self._tokenizer(list(texts)).to(self.mean.device))
        return features


def open_clip_towers(architecture: str, weights: str) -> OpenClipTowers:
    """Load CLIP.

    Args:
        architecture: "local-dir", or a name of open_clip's list, such as ``ViT-B-16``; OpenAI's weights need
            ``ViT-B-16-quickgelu``.
        weights: of "local-dir", a folder with ``open_clip_config.json`` and weights; else a file, or the name of
            published weights in the Hugging Face cache, such as ``laion2b_s34b_b88k``.

    Raises:
        ConfigError: open_clip is not installed, or has no such architecture.
        WeightsError: the weights are missing, damaged, or of another architecture.
    """
    try:
        import open_clip
    except ImportError as error:
        raise ConfigError(
            f"CLIP needs the package open_clip_torch ({error})",
            "pip install 'raylift[clip]', or use towers of your own: run:FOLDER",
        ) from None
    if architecture == LOCAL_DIR:
        name, file = f"{LOCAL_DIR}:{_checked_folder(weights)}", None
    elif architecture not in open_clip.list_models():
        near = difflib.get_close_matches(architecture, open_clip.list_models(), n=3) or ["ViT-B-16", "ViT-B-32"]
        raise ConfigError(
            f"open_clip has no architecture {architecture!r}", f"use one of its list, such as {', '.join(near)}"
        )
    else:
        name, file = architecture, str(_weights_file(architecture, weights))
    try:
        model = open_clip.create_model(name, pretrained=file, weights_only=True, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(name)
    except _READ_ERRORS as error:
        raise WeightsError(
            f"{file or weights} does not hold weights of {architecture} ({_first_line(error)})",
            "name the architecture that they were trained with; OpenAI's original TorchScript files must be converted "
            "to a state_dict first",
        ) from None
    return OpenClipTowers(model, tokenizer)


def _checked_folder(place: str) -> Path:
    folder = Path(place).expanduser()
    if not (folder / _CONFIG).is_file():
        raise WeightsError(
            f"{folder} has no {_CONFIG}",
            "use a folder that has it next to the weights, as open_clip publishes them (open_clip_model.safetensors)",
        )
    try:
        json.loads((folder / _CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / _CONFIG} is damaged ({error!r})", "copy it again") from None
    if not any(path.suffix in _SUFFIXES[:3] for path in folder.iterdir()):
        raise WeightsError(f"{folder} has no weights", f"put a {', '.join(_SUFFIXES[:3])} file next to {_CONFIG}")
    return folder


def _weights_file(architecture: str, weights: str) -> Path:
    """A file of weights: the path itself, or that of published weights in the local cache."""
    import huggingface_hub
    import open_clip.pretrained

    path = Path(weights).expanduser()
    if path.is_file():
        return path
    known = open_clip.pretrained.get_pretrained_cfg(architecture, weights)
    if path.suffix in _SUFFIXES or not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise WeightsError(
            f"there are no weights {weights!r} of {architecture}",
            f"use the path of a weights file, or the name of published weights that are in the cache: {tags}",
        )
    repository = str(known.get("hf_hub", "")).rstrip("/")
    for name in _CACHED if repository else ():
        found = huggingface_hub.try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    raise WeightsError(
        f"the weights {weights!r} of {architecture} are not in the Hugging Face cache",
        f"run `hf download {repository or architecture}` on a machine with network access and copy the cache, or name "
        f"a local file: {architecture}:FILE",
    )


def _num_features(model: Any) -> int:
    """Width of the shared space: that of an image's features."""
    import torch

    size = model.visual.preprocess_cfg["size"]
    side = size if isinstance(size, int) else size[0]
    with torch.no_grad():
        return int(model.eval().encode_image(torch.zeros(1, 3, side, side)).shape[-1])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
