"""What a notebook or a program of yours calls: models, data sets and runs, by the same code as the jobs."""
