"""Compiles the Triton kernels for an NVIDIA GPU that need not be there, to machine code."""

from __future__ import annotations

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from raylift.rendering.surface_transform import triton_kernels

INDICES = {"starts", "counts", "quad", "row", "row_start", "quad_start", "order"}
TYPES = {**dict.fromkeys(INDICES, "*i64"), "seen": "*u8", "limits": "*fp64"}
NUMBERS = {"num_pixels", "height", "width", "texels", "channels"}
CASES: dict[str, dict[str, Any]] = {
    "find_pairs": {"OCTAHEDRAL": True, "WRITES": True, "BLOCK": 64},
    "gather_rows": {"LANES": 128},
    "pull_pairs": {"LANES": 128},
    "gather_pixels": {"WITH_FEATURES": True, "WITH_UV": True, "LANES": 128},
}


def main() -> None:
    for name, constants in CASES.items():
        kernel = getattr(triton_kernels, name)
        types = {
            argument: "i32" if argument in NUMBERS else TYPES.get(argument, "*fp32") for argument in kernel.arg_names
        }
        types |= dict.fromkeys(constants, "constexpr")
        places = {(kernel.arg_names.index(argument),): value for argument, value in constants.items()}
        source, options = ASTSource(kernel, types, constexprs=places), {"enable_fp_fusion": name != "find_pairs"}
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
        fused = sum(compiled.asm["ptx"].count(f"fma.rn.f{bits}") for bits in (32, 64))
        print(name, len(compiled.asm["cubin"]), fused)


if __name__ == "__main__":
    main()
