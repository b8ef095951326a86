"""Evaluation of reconstructions against true shapes, with unlearned baselines."""
