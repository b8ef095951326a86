"""The CAD models of PASCAL3D+, OOD-CV and ImageNet3D as shapes, such as to fit templates of categories to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.cad_models import CadFolder
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.registry import source


@source("pascal3d_cad", delivers="shapes", help="CAD models of PASCAL3D+ or ImageNet3D")
@dataclass(frozen=True)
class Pascal3dCadSource:
    """``CAD/CATEGORY/NN.off`` of a release, or the folder ``CAD`` itself; turned to Y up and facing +Z."""

    path: Path
    kind: str = "pascal3d_cad"

    def items(self) -> list[SourceItem]:
        cads = CadFolder.within(self.path)
        return [
            SourceItem(
                id=f"pascal3d_cad/{reference.removesuffix('.off')}",
                name=reference.split("/")[0],
                category=reference.split("/")[0],
                reference=reference,
                stamp=file_stamp(cads.path / reference),
            )
            for reference in cads.references()
        ]

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return CadFolder.within(self.path).read(item.reference, max_bytes)
