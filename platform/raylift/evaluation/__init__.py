"""Reconstructions to metrics, baselines beside them, panels to look at."""
