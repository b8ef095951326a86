"""Poses of single images from one shared mesh (see README.md here)."""
