"""Step, loop, groups, accumulator, checkpoint: knows neither Ray nor MLflow."""
