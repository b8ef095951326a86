"""Reconstruct a folder of images: meshes, and one page to view them.

    raylift reconstruct --run runs/demo/implicit-quick --images runs/demo/held-out --out meshes
    raylift reconstruct --model models:/m-... --images photos --out meshes --formats glb obj
    raylift reconstruct --run runs/mine --images photos --out meshes --refine 150 --texture-px 1024

NAME.json next to NAME.png is its camera, NAME.depth.npy or NAME.depth.png its depth (see
raylift/data/feed/image_folder.py). Without a camera the canonical one is used, and the summary says so. A model that
recognises objects in front of their background, such as dmnt, takes photographs without a mask.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from raylift.console import progress_bar
from raylift.core.errors import ConfigError, DataError, RayliftError
from raylift.data.feed.image_folder import list_images, read_image
from raylift.export.mesh_files import write_mesh
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape, write_viewer
from raylift.runs.finishing import FINISHED_RESOLUTION, Finishing
from raylift.runs.loading import open_trained
from raylift.runs.reconstruct import Reconstructor


@dataclass(frozen=True)
class Arguments:
    """Reconstruct a folder of images with a trained model.

    Attributes:
        images: folder of images, or one image; cameras and depths in sidecar files.
        out: folder for meshes, viewer.html and summary.json.
        run: folder of a run, local or s3://; its best checkpoint is used.
        checkpoint: path of a checkpoint, .../step-NNNNNNNN.pt.
        model: MLflow model (models:/..., runs:/RUN/model), folder of an exported model, or a hub's, org/name.
        tracking_uri: MLflow tracking URI of that model; by default MLFLOW_TRACKING_URI, else runs/mlflow.db.
        resolution: cells per edge of the grid that the surface is extracted on (default: 256, or 64 with --refine or
            --texture-px).
        refine: steps of refinement of the mesh and its camera against the image, such as 150; 0 for none.
        texture_px: side of a texture from the photograph, its mirror image and the model's colours, such as 1024; 0
            keeps the model's own colours.
        texture_from: "model" leaves the photograph out of the texture.
        box: around the object of one photograph without a mask: left, top, right and bottom in pixels; by default its
            largest centred square is used.
        formats: mesh file formats to write.
        device: cpu or cuda; by default a GPU if available.
        log_to_run: whether to log meshes, page, model and model card to the MLflow run of --run.
        tracking: MLflow tracking URI of that run; by default the one that training used.
    """

    images: Path
    out: Path
    run: str = ""
    checkpoint: str = ""
    model: str = ""
    tracking_uri: str = ""
    resolution: int | None = None
    refine: int = 0
    texture_px: int = 0
    texture_from: Literal["photo", "model"] = "photo"
    box: tuple[int, int, int, int] | None = None
    formats: tuple[Literal["glb", "obj", "ply"], ...] = ("glb", "obj", "ply")
    device: Literal["cpu", "cuda"] | None = None
    log_to_run: bool = False
    tracking: str = ""


def open_reconstructor(arguments: Arguments) -> Reconstructor:
    """Load the model that exactly one of the three arguments names."""
    given = [name for name in ("run", "checkpoint", "model") if getattr(arguments, name)]
    if len(given) != 1:
        raise ConfigError(f"{len(given)} of --run, --checkpoint and --model are given", "give exactly one of them")
    if arguments.run:
        return Reconstructor.of_run(arguments.run, arguments.device)
    if arguments.checkpoint:
        return Reconstructor.open(arguments.checkpoint, arguments.device)
    return Reconstructor.of_trained(open_trained(arguments.model, arguments.device, arguments.tracking_uri))


def reconstruct_one(
    reconstructor: Reconstructor, path: Path, arguments: Arguments, tell: Callable[[str], None] | None = None
) -> tuple[dict[str, object], ViewerRow]:
    """Write the mesh files of one image; returns its entry in the summary and its row on the page."""
    image = read_image(path, reconstructor.model.request.background, arguments.box)
    finishing = Finishing(arguments.refine, arguments.texture_px, arguments.texture_from)
    resolution = arguments.resolution or (FINISHED_RESOLUTION if finishing.is_needed else 256)
    outcome = reconstructor(image, resolution, finishing=finishing, finishing_progress=tell)
    if outcome.mesh.is_empty:
        raise DataError("the model finds no surface in it", "check that the object is cut out and its camera is right")
    files = [write_mesh(outcome.mesh, arguments.out / f"{path.stem}.{ending}").name for ending in arguments.formats]
    row = ViewerRow(
        name=path.stem,
        images=[ViewerImage("Input", image.rgba, f"{image.rgba.shape[1]} px")],
        shapes=[ViewerShape("Reconstruction", outcome.mesh)],
        camera=outcome.camera,
        text="; ".join([*(image.notes or ["camera from its sidecar file"]), *outcome.notes]),
    )
    entry: dict[str, object] = {
        "image": path.name,
        "camera": image.camera_source,
        "vertices": len(outcome.mesh.vertices),
        "faces": len(outcome.mesh.faces),
        "seconds": round(outcome.seconds, 2),
        "files": files,
        "notes": [*image.notes, *outcome.notes],
        "problem": "",
    }
    return entry, row


def check_box(arguments: Arguments, reconstructor: Reconstructor, num_images: int) -> None:
    """Refuse a box where it means nothing."""
    if arguments.box is None:
        return
    if not reconstructor.model.request.background:
        raise ConfigError(
            f"--box with {reconstructor.recipe.name}, which takes cut-outs", "leave it out: alpha frames the object"
        )
    if num_images != 1:
        raise ConfigError(f"--box with {num_images} images", "pass one image: a box is of one image")


def log_to_run(arguments: Arguments, entries: list[dict[str, object]], viewer: Path) -> None:
    """Log meshes, page, model and model card to the run that trained the model."""
    from raylift.runs.reconstruct import log_model, open_run_tracker, write_card

    tracker = open_run_tracker(arguments.run, arguments.tracking)
    tracker.log_artifact(viewer, "reconstructions")
    glbs = [name for entry in entries for name in entry.get("files", []) if name.endswith(".glb")]  # type: ignore[attr-defined]
    for name in glbs:
        tracker.log_artifact(arguments.out / name, "reconstructions")
    tracker.log_artifact(write_card(arguments.run, arguments.out / "model_card.md"))
    log_model(tracker, arguments.run)
    tracker.finish("")


def main(arguments: Arguments, console: Console) -> int:
    """Reconstruct with progress, and print a summary."""
    if arguments.log_to_run and not arguments.run:
        raise ConfigError("--log-to-run without --run", "name the run that trained the model")
    Finishing(arguments.refine, arguments.texture_px, arguments.texture_from)  # refused before a model is loaded
    reconstructor = open_reconstructor(arguments)
    paths = list_images(arguments.images)
    check_box(arguments, reconstructor, len(paths))
    arguments.out.mkdir(parents=True, exist_ok=True)
    console.print(f"{reconstructor.recipe.name} from {reconstructor.where} on {reconstructor.device}", soft_wrap=True)
    console.print(f"inputs: {reconstructor.model.request.describe()}")
    entries: list[dict[str, object]] = []
    rows: list[ViewerRow] = []
    with progress_bar(console, "images") as bar:
        for path in paths:

            def tell(text: str, name: str = path.stem) -> None:
                bar.show(len(rows), len(paths), f"{name}: {text}")

            try:
                entry, row = reconstruct_one(reconstructor, path, arguments, tell)
            except RayliftError as error:
                entry = {"image": path.name, "problem": error.problem, "remedy": error.remedy}
                row = ViewerRow(path.stem, shapes=[ViewerShape("Reconstruction", None, problem=error.problem)])
            entries.append(entry)
            rows.append(row)
            bar.show(len(rows), len(paths), path.stem)
    viewer = write_viewer(rows, arguments.out / "viewer.html", "Reconstructions", f"{reconstructor.recipe.name}")
    (arguments.out / "summary.json").write_text(json.dumps({"model": reconstructor.where, "images": entries}, indent=2))
    if arguments.log_to_run:
        log_to_run(arguments, entries, viewer)
    return summarise(console, entries, viewer)


def summarise(console: Console, entries: list[dict[str, object]], viewer: Path) -> int:
    """Print the table; the exit status is 1 if no image could be reconstructed."""
    table = Table("image", "camera", "faces", "seconds", "note")
    for entry in entries:
        notes = entry.get("notes", [])
        note = f"[red]{entry['problem']}" if entry["problem"] else "; ".join(notes if isinstance(notes, list) else [])
        table.add_row(str(entry["image"]), *(str(entry.get(key, "")) for key in ("camera", "faces", "seconds")), note)
    console.print(table)
    done = sum(not entry["problem"] for entry in entries)
    canonical = sum(entry.get("camera") == "canonical" for entry in entries)
    console.print(f"{done} of {len(entries)} reconstructed, {canonical} of them with the canonical camera")
    console.print(f"view them: {viewer.resolve()}", soft_wrap=True)
    return 0 if done else 1
