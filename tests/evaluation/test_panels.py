"""Panels show input, reconstruction and truth; turntables turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from raylift.config.data import DataConfig
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.panels import draw_panels, stack_panels, turntable, write_animation
from tests.evaluation.models import NothingModel, TruthModel


def test_the_truth_s_panel_shows_the_same_twice(chairs: ShardedDataset) -> None:
    panels = draw_panels(TruthModel(chairs), chairs, "test", DataConfig(), 2, image_px=48)
    assert len({panel.id for panel in panels}) == 2
    strip = panels[0].picture
    assert strip.shape == (48, 6 * 48, 3)
    assert strip.dtype == np.uint8
    columns = [strip[:, k * 48 : (k + 1) * 48].astype(float) / 255 for k in range(6)]
    for left, right in ((0, 1), (2, 3), (4, 5)):
        same = np.abs(columns[left] - columns[right]).mean()
        other = np.abs(columns[left] - columns[(right + 2) % 6]).mean()
        assert same < 0.8 * other
    assert stack_panels(panels).shape == (96, 288, 3)


def test_an_empty_reconstruction_is_drawn_white(chairs: ShardedDataset) -> None:
    (panel,) = draw_panels(NothingModel(), chairs, "test", DataConfig(), 1, resolution=16, image_px=32)
    assert panel.mesh.is_empty
    assert (panel.picture[:, 32:64] == 255).all()
    assert (panel.picture[:, :32] < 250).any()


def test_turntable(chairs: ShardedDataset, tmp_path: Path) -> None:
    mesh = load_object(chairs, chairs.entries("test")[0].id).mesh
    frames = turntable(mesh, num_frames=4, image_px=40)
    assert len(frames) == 4
    assert all((frames[0] != frame).any() for frame in frames[1:])
    write_animation(frames, tmp_path / "turn.gif")
    with Image.open(tmp_path / "turn.gif") as animation:
        assert animation.n_frames == 4
