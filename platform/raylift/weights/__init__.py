"""Pretrained weights: where their files are kept, and how packages that carry them are fetched."""
