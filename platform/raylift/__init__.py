"""Raylift lifts single images to 3D, on Ray."""

__version__ = "0.1.0"
