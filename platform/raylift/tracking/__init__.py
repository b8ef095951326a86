"""The Tracker protocol and MLflow."""
