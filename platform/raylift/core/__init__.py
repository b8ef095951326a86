"""Types, protocols and laws that everything else builds on; imports neither Ray nor MLflow."""
