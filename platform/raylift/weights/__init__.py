"""Pretrained weights: where their files are stored, and how a job fetches packages that contain them."""
