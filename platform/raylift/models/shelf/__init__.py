"""Shelf-supervised volumes: shape, pose and texture from single images with silhouettes (see README.md here)."""
