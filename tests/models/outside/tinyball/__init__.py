"""A ball's radius and colour from one image."""
