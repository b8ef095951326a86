"""Poses of single images by one shared mesh (see README.md here)."""
