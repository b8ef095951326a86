"""The connected parts of a mesh: how much of its volume is in the largest one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def largest_component_share(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> float:
    """Volume of the largest connected component over that of all, in [0, 1]; 1 is a single body, 0 has no volume.

    Components share vertices. Their volumes are signed (divergence theorem): a cavity has the opposite sign of its body
    and is no component. Which sign is a body's is decided by the mesh as a whole, so flipped faces do no harm.
    """
    if len(faces) == 0:
        return 0.0
    corners = vertices[faces].astype(np.float64)
    volumes = np.einsum("fk,fk->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    first, second = faces[:, :2].ravel(), faces[:, 1:].ravel()
    edges = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(vertices), len(vertices)))
    count, labels = connected_components(edges, directed=False)
    parts = np.bincount(labels[faces[:, 0]], volumes, minlength=count)
    bodies = np.maximum(parts if parts.sum() >= 0 else -parts, 0.0)
    return float(bodies.max() / bodies.sum()) if bodies.sum() > 0 else 0.0
