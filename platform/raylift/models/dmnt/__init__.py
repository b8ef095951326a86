"""Neural textured deformable meshes: an object's class, pose, shape and outline by comparing features."""
