"""Step, loop, groups, accumulator, checkpoint; imports neither Ray nor MLflow."""
