"""The code of a logged model. MLflow stores this file with the model and runs it to load the model ("models from
code"), so nothing is unpickled."""

from __future__ import annotations

from mlflow.models import set_model

from raylift.tracking.model import PyfuncReconstructor

set_model(PyfuncReconstructor())
