"""What a client of a served model cannot make it do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raylift.core.errors import DataError
from raylift.runs import reconstruct
from tests.core.inputs.hostile import encoded, frugal, npy, picture_bomb


class Model:
    """Stands in for a trained one, and must not be asked."""

    model = SimpleNamespace(request=SimpleNamespace(background=False))

    def __call__(self, *_: Any) -> Any:
        raise AssertionError("it is asked to reconstruct")


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(reconstruct.Reconstructor, "open", lambda path: Model())
    return reconstruct.load_predictor(Path("step-00000001.pt"))


def test_each_bad_row_is_refused_by_itself(predict: Any) -> None:
    disc = np.zeros((20, 20, 4), np.uint8)
    disc[5:15, 5:15] = 255
    camera = '{"azimuth_deg": 3, "elevation_deg": 1}'
    rows = [
        {"image": picture_bomb("PNG"), "depth": None, "camera": None},
        {"image": picture_bomb("PNG", 1, 60_000), "depth": None, "camera": None},
        {"image": encoded(disc), "depth": npy((50_000, 50_000)), "camera": camera},
        {"image": encoded(disc), "depth": None, "camera": "9" * 2_000_000},
        {"image": b"", "depth": None, "camera": None},
    ]
    with frugal():
        found = predict(pd.DataFrame(rows), {})
    for problem, words in zip(
        found["problem"],
        ["12000 x 12000 pixels", "1 x 60000 pixels", "9,537 MiB", "the camera of image has", "empty"],
        strict=True,
    ):
        assert words in problem
        assert "remedy" in problem
    assert found["glb"].isna().all()


def test_a_surface_has_a_finest_grid(predict: Any) -> None:
    with pytest.raises(DataError, match="resolution has 4,096 cells per edge, more than the limit of 512"):
        predict(pd.DataFrame([{"image": b""}]), {"resolution": 4096})
    assert "empty" in predict(pd.DataFrame([{"image": b""}]), {"resolution": 512})["problem"][0]
