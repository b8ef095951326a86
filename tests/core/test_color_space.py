"""Displayed colours and linear light in closed form."""

from __future__ import annotations

import numpy as np

from raylift.core.color_space import linear_to_srgb, srgb_to_linear


def test_closed_forms() -> None:
    displayed = np.array([0.0, 0.04045, 0.5, 1.0])
    np.testing.assert_allclose(srgb_to_linear(displayed), [0, 0.0031308, 0.21404, 1], atol=1e-5)


def test_displayed_values_come_back_from_linear_light() -> None:
    values = np.linspace(0, 1, 256)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
