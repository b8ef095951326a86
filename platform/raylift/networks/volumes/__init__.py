"""From a latent to a coloured volume: voxels or tri-planes behind one interface."""
