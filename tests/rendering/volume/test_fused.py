"""The Triton kernels: interpreted on the CPU against the compiled marcher, and compiled for a GPU without one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raylift.rendering.volume.march import render_volume
from tests.rendering.volume.scenes import cameras, chair, leaves_of, of_leaves, stacked

pytest.importorskip("triton")
ROOT = Path(__file__).parents[3]
CASES = (
    "density,perspective,0,0,float64",
    "occupancy,orthographic,0,0,float64",
    "density,orthographic,0.05,0.05,float32",
    "occupancy,perspective,0.05,0.05,float32",
)


def run(script: str, *arguments: str, **variables: str) -> list[str]:
    """Lines that a script of this folder prints."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **variables}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_interpreted_it_equals_the_compiled_marcher() -> None:
    """Features, alpha, depth, and gradients by density, features and the camera's four tensors."""
    lines = run("interpret_triton.py", *CASES, TRITON_INTERPRET="1")
    assert [line.split()[0] for line in lines] == list(CASES)
    for line in lines:
        differences = [float(value) for value in line.split()[1:]]
        assert len(differences) == 9
        assert max(differences) < (1e-11 if "float64" in line else 1e-4), line


def test_a_compiler_accepts_it(tmp_path: Path) -> None:
    lines = run("compile_triton.py", TRITON_CACHE_DIR=str(tmp_path))
    assert [line.split()[0] for line in lines] == ["march", "gather", "backward"]


@pytest.mark.gpu
@pytest.mark.parametrize("min_weight", [0.0, 1e-3])
def test_a_gpu_renders_the_same(min_weight: float) -> None:
    grid, camera = chair(2), cameras(3, dtype=torch.float32)
    grid = replace(grid, density=grid.density + 1e-3)
    draw = torch.randn(3, 5, 32, 32, generator=torch.Generator().manual_seed(1))
    results = []
    for device in ("cpu", "cuda"):
        leaves = [leaf.detach().to(device).requires_grad_() for leaf in leaves_of(grid, camera)]
        volumes, views = of_leaves(leaves, grid, camera)
        seen = stacked(
            render_volume(
                volumes,
                views,
                32,
                grid_of_view=torch.tensor([1, 0, 1]),
                min_weight=min_weight,
                stop_transmittance=min_weight,
            )
        )
        gradients = torch.autograd.grad((seen * draw.to(device)).sum(), leaves)
        results.append([seen.detach().cpu(), *(gradient.cpu() for gradient in gradients)])
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=2e-3 if min_weight else 1e-5)
    for one, other in zip(results[0][1:], results[1][1:], strict=True):
        assert float((one - other).norm()) < 0.01 * float(one.norm())
