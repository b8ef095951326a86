"""GLB, OBJ, PLY, the self-contained HTML viewer, the model card."""
