"""Batches from samples, in two steps: stacked in compact form for transfer, then unpacked for the model.

A sample is a dictionary of NumPy arrays. It is kept and sent in stored form: pixels as bytes, grids by their occupied
cells. It is expanded to floats and dense grids here, where the batch is used, by the same arithmetic whichever way it
came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from raylift.core.errors import DataError
from raylift.core.types import Batch, Camera
from raylift.geometry.voxels import SparseGrid

Sample = dict[str, Any]

_CAMERA_FIELDS = ("camera_focal", "camera_principal", "camera_rotation", "camera_translation")
_OF_BYTES = ("parts", "object_colors", "told_colors", "amodal")
"""Fields in [0, 1] that are transferred as bytes."""

_NOT_TENSORS = ("id", "key", "camera_projection", *_CAMERA_FIELDS)


@dataclass(frozen=True)
class SparseGrids:
    """The concatenated grids of a batch's samples; ``counts`` [B] holds the number of cells of each."""

    counts: np.ndarray
    cells: np.ndarray
    values: np.ndarray
    resolution: int

    @staticmethod
    def joined(grids: Sequence[SparseGrid]) -> SparseGrids:
        """Concatenate grids.

        Raises:
            DataError: they have different resolutions.
        """
        resolutions = {grid.resolution for grid in grids}
        if len(resolutions) != 1:
            raise DataError(
                f"cannot batch grids of resolutions {sorted(resolutions)}", "assemble them with the same request"
            )
        return SparseGrids(
            np.array([len(grid.cells) for grid in grids]),
            np.concatenate([grid.cells for grid in grids]),
            np.concatenate([grid.values for grid in grids]),
            resolutions.pop(),
        )

    def dense(self) -> Float32[np.ndarray, "B C R R R"]:
        count, channels = len(self.counts), self.values.shape[1]
        grid = np.zeros((count, channels, self.resolution**3), np.float32)
        samples = np.repeat(np.arange(count), self.counts)
        for channel in range(channels):
            grid[samples, channel, self.cells] = self.values[:, channel]
        return grid.reshape(count, channels, *(self.resolution,) * 3)


Stacked = dict[str, np.ndarray | SparseGrids]


def stack(samples: Sequence[Mapping[str, Any]]) -> Stacked:
    """Stack the samples of one batch in compact form for transfer.

    Raises:
        DataError: no samples, or samples with different fields.
    """
    if not samples:
        raise DataError("a batch without samples", "use a batch size of at least the number of workers")
    if len({tuple(sorted(sample)) for sample in samples}) != 1:
        raise DataError("samples of one batch have different fields", "assemble them with the same request")
    return {name: _stacked([sample[name] for sample in samples]) for name in samples[0]}


def _stacked(values: list[Any]) -> np.ndarray | SparseGrids:
    if isinstance(values[0], SparseGrid):
        return SparseGrids.joined(values)
    return np.stack([np.asarray(value) for value in values])


def batch_of(stacked: Mapping[str, Any]) -> Batch:
    """Unpack stacked samples to a batch.

    Raises:
        DataError: the cameras' projections differ.
    """
    fields: dict[str, torch.Tensor] = {}
    for name, values in stacked.items():
        if name == "rgba":
            image, mask = on_white(values)
            fields |= {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)}
        elif name == "photograph":
            kept = torch.from_numpy(
                np.ascontiguousarray(np.moveaxis(values, -1, 1)).astype(np.float32) / np.float32(255)
            )
            fields |= {"image": kept[:, :3].contiguous(), "mask": kept[:, 3:].contiguous()}
        elif name in _OF_BYTES:
            fields[name] = torch.from_numpy(values.astype(np.float32) / np.float32(255.0))
        elif name not in _NOT_TENSORS:
            fields[name] = _tensor(values)
    return Batch(
        ids=tuple(str(name) for name in stacked["id"]),
        keys=torch.as_tensor(np.asarray(stacked["key"], np.int64).copy()),
        fields=fields,
        camera=_camera_of(stacked),
    )


def _camera_of(stacked: Mapping[str, Any]) -> Camera | None:
    if "camera_projection" not in stacked:
        return None
    projections = {str(name) for name in stacked["camera_projection"]}
    if len(projections) != 1:
        raise DataError(f"cannot batch cameras of projections {sorted(projections)}", "use one projection per data set")
    focal, principal, rotation, translation = (_tensor(stacked[name]) for name in _CAMERA_FIELDS)
    return Camera(focal, principal, rotation, translation, projections.pop())  # type: ignore[arg-type]


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Make a batch of samples, in their order.

    Raises:
        DataError: no samples, samples with different fields, or cameras with different projections.
    """
    return batch_of(stack(samples))


def on_white(
    rgba: np.ndarray,
) -> tuple[Float32[np.ndarray, "*B 3 H W"], Float32[np.ndarray, "*B 1 H W"]]:
    """Images composited on white and their coverage, in [0, 1].

    Args:
        rgba: uint8 [..., H, W, 4], colour not premultiplied.
    """
    # Channels are moved while still bytes, and the rest is in place: this runs alongside the training step.
    values = np.ascontiguousarray(np.moveaxis(rgba, -1, -3)).astype(np.float32)
    values /= np.float32(255.0)
    image, alpha = np.ascontiguousarray(values[..., :3, :, :]), np.ascontiguousarray(values[..., 3:, :, :])
    image *= alpha
    image += np.float32(1.0) - alpha
    return image, alpha


def _tensor(values: np.ndarray | SparseGrids) -> torch.Tensor:
    if isinstance(values, SparseGrids):
        return torch.from_numpy(values.dense())
    # Arrays from another process may be read-only views, which torch must not write into.
    kind = values.dtype if values.dtype in (np.int64, np.uint8) else np.float32
    return torch.from_numpy(np.array(values, kind, copy=not values.flags.writeable, order="C"))
