"""Types, protocols and laws that everything else hangs on; knows neither Ray nor MLflow."""
