"""Latents that a run of ``templates/`` has fitted to its objects, by the objects' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.device_copies import upload
from raylift.core.generators import stable_hash


class ObjectLatents(nn.Module):
    """A table of latents, empty until a run of ``templates/`` fills it.

    An image of the source ``scenes`` is called OBJECT@NUMBER-LEVEL after the object that it shows; a rendered view of a
    shape has the name of the shape.

    Args:
        latent: L, size of a latent.

    Attributes:
        keys: sorted hashes of the objects' names.
        latents: a row for each.
    """

    keys: Int[Tensor, "M"]
    latents: Float[Tensor, "M L"]

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("latents", torch.zeros(0, latent))

    def fill(self, keys: Int[Tensor, "M"], latents: Float[Tensor, "M L"]) -> None:
        """Replace the table."""
        order = keys.argsort()
        self.keys, self.latents = keys[order].to(self.keys.device), latents[order].to(self.latents)

    def forward(self, ids: Sequence[str], otherwise: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """The latent of the object that each image shows.

        Args:
            ids: names of samples, ``Batch.ids``.
            otherwise: latents of images of unknown objects.
        """
        if not len(self.keys):
            return otherwise
        found = otherwise
        for names in zip(*(_names(one) for one in ids), strict=True):
            wanted = upload(torch.tensor([stable_hash(name) for name in names]), self.keys.device)
            rows = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
            known = self.keys[rows] == wanted
            found = torch.where(known[:, None], self.latents[rows], found)
        return found

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """A checkpoint says how many objects there are."""
        for name in ("keys", "latents"):
            value = state_dict.get(prefix + name)
            if value is not None and value.shape[1:] == getattr(self, name).shape[1:]:
                setattr(self, name, getattr(self, name).new_zeros(value.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[arg-type]


def _names(sample: str) -> tuple[str, str]:
    """Names that the object of a sample may have: the sample's without its view, and that before the last @."""
    name = sample.rpartition("#")[0] or sample
    return name, name.rpartition("@")[0] or name
