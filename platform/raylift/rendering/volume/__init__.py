"""Volume rendering: pictures of voxel grids, with gradients to the grid and to the cameras."""
