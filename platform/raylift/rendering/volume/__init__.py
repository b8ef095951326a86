"""Rendering of volumes by ray marching."""
