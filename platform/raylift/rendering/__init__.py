"""From meshes to pixels: one rasteriser contract, Numba on CPU, PyTorch3D on GPU."""
