"""Step, loop, players, ledger, checkpoint: knows neither Ray nor MLflow."""
