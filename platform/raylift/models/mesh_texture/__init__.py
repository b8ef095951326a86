"""A textured mesh and its camera from single images with silhouettes (see README.md here)."""
