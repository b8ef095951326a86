"""Evaluation of reconstructions: metrics, baselines, and image panels."""
