"""The Triton kernels: interpreted on the CPU against the compiled ones, and compiled for a GPU without one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raylift.geometry.cameras import orbit_views
from raylift.rendering.surface_transform.transform import to_surface
from raylift.rendering.uv_fragments import uv_fragments
from tests.rendering.surface_transform.surfaces import octahedral_sphere

pytest.importorskip("triton")
ROOT = Path(__file__).parents[3]
CASES = (
    "0,plain,0,float64",
    "0.4,octahedral,0,float32",
    "1.7,plain,2,float64",
)


def run(script: str, *arguments: str, **variables: str) -> list[str]:
    """Lines that a script of this folder prints."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **variables}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_interpreted_they_equal_the_compiled_ones() -> None:
    """The same pairs, and (s, t), features, and gradients by features and UVs."""
    lines = run("interpret_triton.py", *CASES, TRITON_INTERPRET="1")
    assert [line.split()[0] for line in lines] == list(CASES)
    for line in lines:
        differences = [float(value) for value in line.split()[1:]]
        assert len(differences) == 4
        assert max(differences) < (1e-12 if "float64" in line else 1e-5), line


def test_a_compiler_accepts_them_and_fuses_nothing_in_coverage(tmp_path: Path) -> None:
    """Multiply-adds would give the two quads at an edge different numbers for it."""
    lines = [line.split() for line in run("compile_triton.py", TRITON_CACHE_DIR=str(tmp_path))]
    assert [line[0] for line in lines] == ["find_pairs", "gather_rows", "pull_pairs", "gather_pixels"]
    assert int(lines[0][2]) == 0
    assert int(lines[1][2]) > 0


@pytest.mark.gpu
def test_a_gpu_computes_the_same() -> None:
    vertices, faces, corner_uvs = octahedral_sphere(16)
    fragments = uv_fragments(vertices.float(), faces, corner_uvs.float(), orbit_views(3), 32)
    features = torch.randn(3, 20, 32, 32, generator=torch.Generator().manual_seed(1))
    draw = torch.randn(3, 20, 24, 24, generator=torch.Generator().manual_seed(2))
    results = []
    for device in ("cpu", "cuda"):
        leaves = [part.detach().to(device).requires_grad_() for part in (features, fragments.uv)]
        moved = {name: value.to(device) for name, value in vars(fragments).items()}
        found = to_surface(leaves[0], replace(fragments, **moved | {"uv": leaves[1]}), 24)
        gradients = torch.autograd.grad((found.features * draw.to(device)).sum(), leaves)
        results.append([part.detach().cpu() for part in (found.features, *gradients)])
        assert int(found.num_quads.sum()) > 300
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
