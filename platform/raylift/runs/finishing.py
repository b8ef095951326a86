"""What may follow a reconstruction: refinement against its image, and a texture from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera, Mesh, SampleRequest
from raylift.data.feed.batches import collate
from raylift.data.feed.image_folder import InputImage
from raylift.data.feed.user_image import assemble_image
from raylift.refinement.config import RefinementConfig
from raylift.refinement.refine import refine
from raylift.texturing.bake import ColorAt, bake
from raylift.texturing.photo import texture_from_photo
from raylift.texturing.unwrap import check_texture_px

FINISHED_RESOLUTION = 64
"""Cells per edge that fields are extracted with: refining and unwrapping more faces takes minutes."""
MOST_PHOTO_PX = 512
"""Photographs are read at up to this side, whatever the model's own input size."""

Progress = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True)
class Finishing:
    """Steps after a reconstruction.

    Attributes:
        refine_steps: steps of refinement; 0 for none.
        texture_px: side of the texture; 0 keeps the model's own colours.
        texture_from: "photo": the photograph where it shows the surface, the model's colours elsewhere; or "model": the
            latter alone.
    """

    refine_steps: int = 0
    texture_px: int = 0
    texture_from: Literal["photo", "model"] = "photo"

    def __post_init__(self) -> None:
        if self.refine_steps < 0:
            raise ConfigError(f"{self.refine_steps} steps of refinement", "use 0 or more")
        if self.texture_px:
            check_texture_px(self.texture_px)

    @property
    def is_needed(self) -> bool:
        return self.refine_steps > 0 or self.texture_px > 0

    def check(self, image: InputImage) -> None:
        """Refuse an image without a mask where one is needed.

        Raises:
            DataError: it has none.
        """
        reads_photo = self.texture_px > 0 and self.texture_from == "photo"
        if not image.has_mask and (self.refine_steps or reads_photo):
            raise DataError(
                f"image {image.name} has no mask, which refinement and a texture from the photograph need",
                "cut the object out and save it as PNG with alpha, or use --texture-from model without --refine",
            )


@dataclass(frozen=True)
class Finished:
    """A mesh after its last step.

    Attributes:
        mesh: on the CPU.
        camera: B = 1.
        notes: what was done, for the user to read.
    """

    mesh: Mesh
    camera: Camera
    notes: tuple[str, ...]


def finish(
    mesh: Mesh,
    camera: Camera,
    image: InputImage,
    request: SampleRequest,
    generated: ColorAt | None,
    finishing: Finishing,
    progress: Progress | None = None,
    is_camera_known: bool = False,
) -> Finished:
    """Refine a mesh against its image, then texture it, as far as each is asked for.

    Args:
        mesh: on the CPU; returned as it is if it has no faces.
        camera: camera of the model's input, B = 1.
        image: image that the mesh was reconstructed from.
        request: the model's, for its crop.
        generated: colours by world point; None for those of the mesh.
        is_camera_known: whether the camera was measured rather than assumed or predicted; then it stays.

    Raises:
        DataError: an invalid mesh.
    """
    notes: list[str] = []
    if mesh.is_empty or not finishing.is_needed:
        return Finished(mesh, camera, ())
    tell = progress or (lambda text: None)
    photo, mask = _photograph(image, request)
    rest = mesh.vertices
    if finishing.refine_steps:
        config = replace(RefinementConfig(), num_steps=finishing.refine_steps)
        config = replace(config, camera_learning_rate=0.0, camera_share=0.0) if is_camera_known else config
        refined = refine(mesh, camera, photo, mask, config, lambda done, of: tell(f"refining, step {done} of {of}"))
        mesh, camera = refined.mesh, refined.camera
        notes.append(refined.note)
    if finishing.texture_px:
        tell(f"unwrapping {len(mesh.faces):,} faces")
        size = finishing.texture_px
        if finishing.texture_from == "model":
            return Finished(bake(mesh, generated, size, rest), camera, (*notes, "texture of the model's colours"))
        found = texture_from_photo(mesh, camera, photo, mask, generated, texture_px=size, rest_vertices=rest)
        mesh = found.mesh
        shares = (f"{100 * share:.0f} % {name}" for name, share in found.shares._asdict().items())
        notes.append(f"texture {', '.join(shares)}")
    return Finished(mesh, camera, tuple(notes))


def _photograph(image: InputImage, request: SampleRequest) -> tuple[Float[Tensor, "3 S S"], Float[Tensor, "S S"]]:
    """The image as the model saw it, with its crop, but at the resolution that it has."""
    size = max(request.image_px, min(MOST_PHOTO_PX, image.rgba.shape[0]))
    asked = SampleRequest(size, crop=request.crop)
    batch = collate([assemble_image(image.rgba, None, image.camera, asked, image.name)])
    return batch["image"][0], batch["mask"][0, 0]
