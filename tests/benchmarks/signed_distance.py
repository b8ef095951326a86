"""Signed distance by virtual scan against generalised winding numbers, on real meshes.

    PYTHONPATH=platform python -m tests.benchmarks.signed_distance runs/demo/furniture [--num-meshes 40]

The folder holds meshes that trimesh reads (OBJ, GLB, PLY, STL, OFF) or Sweet Home 3D libraries, at any depth; a seeded
draw of them is compared on points uniform in the padded unit cube. For each mesh: is it watertight, how much of it is
inside by either method, where they differ, and how much of space the winding number cannot decide (further than 0.1
from any integer). The last lines sum up watertight meshes and the others, and state times.

Where they differ and why: "scan only" is what one cannot see into but the mesh does not enclose consistently (hidden
holes and cavities, parts turned inside out, doubled walls whose winding numbers cancel). "Winding only" is what lies
inside by orientation but can be looked into from outside (open shells and boxes).
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import trimesh

from raylift.core.errors import DataError
from raylift.geometry.signed_distance import ScanDistance
from raylift.rendering.virtual_scan import scan
from tests.reference.winding import winding_number

SUFFIXES = {".obj", ".glb", ".ply", ".stl", ".off"}


def load(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Vertices (longest edge 1, centred), faces, and whether the mesh is watertight once equal vertices are merged."""
    mesh = trimesh.load(path, force="mesh", process=False, skip_materials=True)
    vertices = np.asarray(mesh.vertices, np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices = (vertices - (low + high) / 2) / (high - low).max()
    faces = np.asarray(mesh.faces)
    merged = trimesh.Trimesh(vertices, faces, process=False)
    merged.merge_vertices(merge_tex=True, merge_norm=True)
    return vertices, faces, bool(merged.is_watertight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num-meshes", type=int, default=40)
    parser.add_argument("--num-points", type=int, default=4000)
    parser.add_argument("--max-faces", type=int, default=15_000, help="winding numbers cost points times faces")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for library in sorted(arguments.folder.rglob("*.sh3f")):
            with zipfile.ZipFile(library) as archive:
                archive.extractall(Path(scratch) / library.stem)
        folders = (arguments.folder, Path(scratch))
        files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            parser.error(f"no meshes ({', '.join(sorted(SUFFIXES))}) and no .sh3f libraries under {arguments.folder}")
        compare(files, arguments)


def compare(files: list[Path], arguments: argparse.Namespace) -> None:
    """Both methods on a draw of the meshes, a line each, and the sums."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.55, 0.55, (arguments.num_points, 3))
    sphere = trimesh.creation.icosphere(1, 0.4)  # compile the kernels
    ScanDistance(sphere.vertices, sphere.faces, scan(sphere.vertices, sphere.faces, 2, 32))(points[:2])
    winding_number(points[:2], sphere.vertices, sphere.faces)

    print(f"{'mesh':32s} {'faces':>6s} tight   scan %  wind %  differ %  scan only  wind only  undecided %")
    rows = []
    for index in rng.permutation(len(files)):
        if len(rows) == arguments.num_meshes:
            break
        try:
            vertices, faces, watertight = load(files[index])
            if not 0 < len(faces) <= arguments.max_faces:
                continue
            start = time.perf_counter()
            seen = scan(vertices, faces)
            scanned = time.perf_counter()
            distance = ScanDistance(vertices, faces, seen)(points)
            asked = time.perf_counter()
            winding = winding_number(points, vertices, faces)
            wound = time.perf_counter()
        except (DataError, ValueError, IndexError) as error:
            print(f"{files[index].stem[:32]:32s} set aside: {str(error).splitlines()[0]}")
            continue
        ours, theirs = distance < 0, winding > 0.5
        # The scan's solid is thicker by design: compare where the thickness cannot matter.
        clear = np.abs(distance) > 0.01
        shares = [
            ours.mean(),
            theirs.mean(),
            (ours != theirs)[clear].mean(),
            (ours & ~theirs)[clear].mean(),
            (theirs & ~ours)[clear].mean(),
            (np.abs(winding - np.round(winding)) > 0.1).mean(),
        ]
        rows.append((watertight, *shares, scanned - start, asked - scanned, wound - asked))
        text = "  ".join(f"{100 * share:7.2f}" for share in shares)
        print(f"{files[index].stem[:32]:32s} {len(faces):6d} {'yes' if watertight else ' no'}  {text}", flush=True)

    table = np.array(rows, float)
    for name, picked in (("watertight", table[table[:, 0] == 1]), ("not watertight", table[table[:, 0] == 0])):
        if len(picked):
            differ, undecided = 100 * picked[:, 3], 100 * picked[:, 6]
            print(
                f"{len(picked)} {name}: differ mean {differ.mean():.3f} %, median {np.median(differ):.3f} %, "
                f"worst {differ.max():.2f} %; scan only {100 * picked[:, 4].mean():.3f} %, winding only "
                f"{100 * picked[:, 5].mean():.3f} %; winding undecided {undecided.mean():.2f} % of space"
            )
    scan_s, ask_s, wind_s = np.median(table[:, 7:], axis=0)
    each = 1e6 / arguments.num_points
    print(
        f"median time: {scan_s:.2f} s for a scan of 100 views, then {ask_s * each:.1f} us a point; "
        f"winding numbers {wind_s * each:.1f} us a point: {wind_s / ask_s:.0f}x"
    )


if __name__ == "__main__":
    main()
