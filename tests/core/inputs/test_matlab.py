"""MATLAB files that claim, or unpack to, more than they hold."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from scipy.io import savemat

from raylift.core.errors import DataError
from raylift.core.inputs.matlab import check_matlab
from tests.core.inputs.hostile import MIB, frugal, matlab, matrix, structure_fields

LIMIT = 1 << 20
STRUCTURE, CELL, TEXT, SPARSE, DOUBLE = 2, 1, 4, 5, 6


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("version", ["4", "5"])
def test_ordinary_files_pass(compressed: bool, version: str) -> None:
    content = {"a": np.eye(3), "text": "car", "empty": np.zeros((0, 3)), "many": np.zeros(500, np.int8)}
    if version == "5":
        parts = np.empty((2, 2), object)
        parts[:] = [["a", np.ones(2)], [{"x": 1.0, "y": []}, np.empty((0, 0), object)]]
        content |= {"record": {"objects": [{"box": [1.0, 2.0]}, {"box": []}], "cells": parts, "none": {}}}
    stored = io.BytesIO()
    savemat(stored, content, do_compression=compressed and version == "5", format=version)
    check_matlab(stored.getvalue(), "a.mat", LIMIT)


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_without_content_are_refused(packed: bool) -> None:
    """The parser would make a million objects, cells or blanks of some 200 bytes."""
    for claim in (
        matrix(STRUCTURE, (1000, 1000), b"record", structure_fields()),
        matrix(CELL, (1000, 1000)),
        matrix(TEXT, (1000, 1000)),
        matrix(DOUBLE, (1, -5)),
        matrix(CELL, (1, 1), b"record", matrix(CELL, (1000, 1000))),
    ):
        data = matlab(claim, packed=packed)
        assert len(data) < 400
        with pytest.raises(DataError, match="a.mat claims an array of"):
            check_matlab(data, "a.mat", LIMIT)


def test_what_unpacks_to_more_than_the_limit_is_refused() -> None:
    half = matrix(DOUBLE, (1, 1), bytes(LIMIT // 2))
    check_matlab(matlab(half, packed=True), "a.mat", LIMIT)
    data = matlab(half, half, packed=True)
    assert len(data) < 3000
    with pytest.raises(DataError, match="a.mat unpacks to"):
        check_matlab(data, "a.mat", LIMIT)
    bomb = matlab(matrix(DOUBLE, (1, 1), bytes(48 * MIB)), packed=True)
    with frugal(), pytest.raises(DataError, match="a.mat unpacks to"):
        check_matlab(bomb, "a.mat", LIMIT)


def test_nesting_kinds_and_damage_are_refused() -> None:
    deep = matrix(DOUBLE, (0, 0))
    for _ in range(40):
        deep = matrix(CELL, (1, 1), b"", deep)
    with pytest.raises(DataError, match="nested more than 32 levels"):
        check_matlab(matlab(deep), "a.mat", LIMIT)
    with pytest.raises(DataError, match="sparse"):
        check_matlab(matlab(matrix(SPARSE, (1, 1))), "a.mat", LIMIT)
    for damaged in (struct.pack("<II", 14, 1 << 30), struct.pack("<II", 15, 4) + b"nope", matrix(CELL, ())[:12] * 3):
        with pytest.raises(DataError, match="a.mat"):
            check_matlab(matlab(damaged), "a.mat", LIMIT)
