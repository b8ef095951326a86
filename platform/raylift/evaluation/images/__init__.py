"""Reconstructions of image collections: as their cameras see them, and where more is known, against that."""
