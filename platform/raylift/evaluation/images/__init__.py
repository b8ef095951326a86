"""Evaluation on image collections: against the input image and, where known, true cameras, keypoints and shapes."""
