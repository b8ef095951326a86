"""Pretrained weights: where their files are stored, and how packages that contain them are fetched."""
