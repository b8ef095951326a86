"""An exponential that compilers can vectorise over pixels; libm's is called for one at a time."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import float32, int32, types
from numba.extending import intrinsic, overload

LARGEST = 60.0
"""Arguments are clamped to this distance from 0, so that results and products of two are not too small for float32."""
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
_ROUNDER = 12582912.0  # 1.5 * 2^23: adding it leaves no digits behind the point


@intrinsic
def _bits_as_float(_context: Any, bits: Any) -> Any:
    """The float32 of these bits."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def vector_exp(x: float) -> float:
    """exp(x). In float32 within 2e-7 of it, relative, with |x| clamped to ``LARGEST``; in float64 libm's."""
    return math.exp(x)


@overload(vector_exp, jit_options={"error_model": "numpy"})
def _overload(x: Any) -> Any:
    def exact(x: Any) -> Any:
        return math.exp(x)

    def polynomial(x: Any) -> Any:
        """2^n times a polynomial of the remainder, |remainder| <= ln 2 / 2 (Cephes, expf)."""
        x = min(max(x, float32(-LARGEST)), float32(LARGEST))
        n = (x * float32(_LOG2_E) + float32(_ROUNDER)) - float32(_ROUNDER)
        remainder = (x - n * float32(_LN2_HIGH)) - n * float32(_LN2_LOW)
        p = float32(1.9875691500e-4)
        p = p * remainder + float32(1.3981999507e-3)
        p = p * remainder + float32(8.3334519073e-3)
        p = p * remainder + float32(4.1665795894e-2)
        p = p * remainder + float32(1.6666665459e-1)
        p = p * remainder + float32(5.0000001201e-1)
        p = (p * remainder * remainder + remainder) + float32(1)
        return p * _bits_as_float(int32((int32(n) + int32(127)) << int32(23)))

    return polynomial if x == types.float32 else exact
