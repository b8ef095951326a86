"""Reads and writes of LANES channels at once, as one vector each: compiled kernels do not find these by themselves.

numba compiles without LLVM's pass that joins scalars to vectors, and its loops over four channels are unrolled before
they could be. So these three functions are written as instructions. All take channels ``lane`` to ``lane + LANES`` of
cells whose values are in a row (``volume.cells``), at eight corners, in float32 or float64.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from raylift.rendering.volume.cells import LANES

_CONTRACT = ("contract",)
"""As everywhere in the kernels: a product and a sum may be rounded once."""


@intrinsic
def add_blend(_context: Any, total: Any, features: Any, lane: Any, places: Any, weights: Any) -> Any:
    """total [lane ... lane + LANES] += sum over the corners of weight * features."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(context, builder, signature.args[1])
        row, first = vectors.row(arguments[1]), vectors.place(arguments[2], signature.args[2])
        corners = [vectors.load(row, vectors.add_places(one, first)) for one in vectors.unpack(arguments[3])]
        factors = [vectors.filled(one) for one in vectors.unpack(arguments[4])]
        products = list(zip(factors, corners, strict=True))
        sums = []
        for half in (products[:4], products[4:]):
            found = vectors.multiply(*half[0])
            for pair in half[1:]:
                found = vectors.add(found, vectors.multiply(*pair))
            sums.append(found)
        target = vectors.row(arguments[0])
        vectors.store(target, first, vectors.add(vectors.load(target, first), vectors.add(*sums)))
        return context.get_dummy_value()

    return types.void(total, features, lane, places, weights), generate


@intrinsic
def spread(_context: Any, by_features: Any, lane: Any, places: Any, weights: Any, pull: Any) -> Any:
    """Gradient of ``add_blend``: by_features of every corner += weight * pull [lane ... lane + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(context, builder, signature.args[0])
        row, first = vectors.row(arguments[0]), vectors.place(arguments[1], signature.args[1])
        pulled = vectors.load(vectors.row(arguments[4]), first)
        corners = zip(vectors.unpack(arguments[2]), vectors.unpack(arguments[3]), strict=True)
        for one, weight in corners:
            place = vectors.add_places(one, first)
            product = vectors.multiply(vectors.filled(weight), pulled)
            vectors.store(row, place, vectors.add(vectors.load(row, place), product))
        return context.get_dummy_value()

    return types.void(by_features, lane, places, weights, pull), generate


@intrinsic
def pulled_blend(_context: Any, features: Any, lane: Any, places: Any, fractions: Any, pull: Any) -> Any:
    """The trilinear features times pull [lane ... lane + LANES], and its slopes by the three fractions.

    Args:
        fractions: (fx, fy, fz), the way from the first corner to the last.

    Returns:
        (value, by fx, by fy, by fz), each summed over the channels.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(context, builder, signature.args[0])
        row, first = vectors.row(arguments[0]), vectors.place(arguments[1], signature.args[1])
        a, b, c, d, e, f, g, h = (
            vectors.load(row, vectors.add_places(one, first)) for one in vectors.unpack(arguments[2])
        )
        fx, fy, fz = (vectors.filled(one) for one in vectors.unpack(arguments[3]))

        def between(one: Any, other: Any, share: Any) -> Any:
            return vectors.add(one, vectors.multiply(share, vectors.subtract(other, one)))

        # z changes fastest from corner to corner, and x slowest.
        edges = [vectors.subtract(high, low) for low, high in ((a, b), (c, d), (e, f), (g, h))]
        ab, cd, ef, gh = (
            vectors.add(low, vectors.multiply(fz, edge)) for low, edge in zip((a, c, e, g), edges, strict=True)
        )
        low_y, high_y = vectors.subtract(cd, ab), vectors.subtract(gh, ef)
        near, far = vectors.add(ab, vectors.multiply(fy, low_y)), vectors.add(ef, vectors.multiply(fy, high_y))
        by_x = vectors.subtract(far, near)
        by_z = between(between(edges[0], edges[1], fy), between(edges[2], edges[3], fy), fx)
        found = (vectors.add(near, vectors.multiply(fx, by_x)), by_x, between(low_y, high_y, fx), by_z)
        pulled = vectors.load(vectors.row(arguments[4]), first)
        sums = [vectors.total(vectors.multiply(one, pulled)) for one in found]
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(features.dtype, 4)(features, lane, places, fractions, pull), generate


class _Vectors:
    """Instructions on vectors of LANES values of an array's type."""

    def __init__(self, context: Any, builder: Any, array: Any) -> None:
        assert (array.layout, array.ndim) == ("C", 1), "values are in a row"
        self.context, self.builder, self.array = context, builder, array
        self.vector = ir.VectorType(context.get_data_type(array.dtype), LANES)

    def row(self, array: Any) -> Any:
        """Pointer to an array's first value."""
        return self.context.make_array(self.array)(self.context, self.builder, array).data

    def place(self, value: Any, kind: Any) -> Any:
        return self.context.cast(self.builder, value, kind, types.uintp)

    def unpack(self, values: Any) -> list[Any]:
        return [self.builder.extract_value(values, index) for index in range(values.type.count)]

    def add_places(self, one: Any, other: Any) -> Any:
        return self.builder.add(one, other)

    def _pointer(self, row: Any, place: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(row, [place]), self.vector.as_pointer())

    def load(self, row: Any, place: Any) -> Any:
        return self.builder.load(self._pointer(row, place), align=self.array.dtype.bitwidth // 8)

    def store(self, row: Any, place: Any, value: Any) -> None:
        self.builder.store(value, self._pointer(row, place), align=self.array.dtype.bitwidth // 8)

    def filled(self, value: Any) -> Any:
        """A vector of equal values."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, nothing, mask)

    def multiply(self, one: Any, other: Any) -> Any:
        return self.builder.fmul(one, other, flags=_CONTRACT)

    def add(self, one: Any, other: Any) -> Any:
        return self.builder.fadd(one, other, flags=_CONTRACT)

    def subtract(self, one: Any, other: Any) -> Any:
        return self.builder.fsub(one, other, flags=_CONTRACT)

    def total(self, values: Any) -> Any:
        """Sum over the lanes, in pairs."""
        parts = [self.builder.extract_element(values, ir.Constant(ir.IntType(32), lane)) for lane in range(LANES)]
        while len(parts) > 1:
            parts = [self.add(one, other) for one, other in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]
