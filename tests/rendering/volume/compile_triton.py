"""Compiles the Triton kernels for an NVIDIA GPU that need not be there, to machine code."""

from __future__ import annotations

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from raylift.rendering.volume import triton_kernels

TYPES = {"owner": "*i64", "last_record": "*i32", "limit": "fp32", "min_weight": "fp32", "stop": "fp32"}
NUMBERS = {"num_rays", "num_samples", "nx", "ny", "nz", "channels"}
CASES: dict[str, dict[str, Any]] = {
    "march": {"OCCUPANCY": False, "SKIPS": True, "STOPS": True, "BLOCK": 64},
    "gather": {"LANES": 4, "BLOCK": 64},
    "backward": {"OCCUPANCY": False, "WITH_FEATURES": True, "LANES": 4, "BLOCK": 64},
}


def main() -> None:
    for name, constants in CASES.items():
        kernel = getattr(triton_kernels, name)
        types = {
            argument: "i32" if argument in NUMBERS else TYPES.get(argument, "*fp32") for argument in kernel.arg_names
        }
        types |= dict.fromkeys(constants, "constexpr")
        places = {(kernel.arg_names.index(argument),): value for argument, value in constants.items()}
        compiled = triton.compile(ASTSource(kernel, types, constexprs=places), target=GPUTarget("cuda", 80, 32))
        print(name, len(compiled.asm["cubin"]))


if __name__ == "__main__":
    main()
