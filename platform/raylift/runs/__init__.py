"""The only place that binds Ray to the rest."""
