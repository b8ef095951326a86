"""Model registry: a run's logged model as a version of a registered model, with an alias for its purpose."""

from __future__ import annotations

import re
from dataclasses import dataclass

from raylift.core.errors import ConfigError
from raylift.tracking.process_uri import process_tracking_uri
from raylift.tracking.reading import server_answers


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model.

    Attributes:
        name: name of the model.
        version: number that the registry assigned, from 1.
        alias: alias that now points to it; "" for none.
    """

    name: str
    version: int
    alias: str

    @property
    def uri(self) -> str:
        """The URI for ``raylift reconstruct --model`` and ``mlflow.pyfunc.load_model``."""
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def logged_model(tracking_uri: str, run_id: str) -> str:
    """The id of the model that a run logged last; "" if it logged none.

    Raises:
        ConfigError: the server does not answer.
    """
    from mlflow import MlflowClient

    with server_answers(tracking_uri):
        client = MlflowClient(tracking_uri)
        run = client.get_run(run_id)
        # A run lists its models in no particular order.
        models = [client.get_logged_model(one.model_id) for one in (run.outputs.model_outputs if run.outputs else [])]
        return str(max(models, key=lambda model: model.creation_timestamp).model_id) if models else ""


def check_names(name: str, alias: str) -> None:
    """Refuse names that no registry accepts.

    Raises:
        ConfigError: an empty name, one with characters that separate parts of a URI, or a reserved alias.
    """
    if not re.fullmatch(r"[^/:@%\s]+", name):
        raise ConfigError(f"model name {name!r}", "use one without spaces and '/', ':', '@', '%'")
    if alias and (not re.fullmatch(r"[\w.-]+", alias) or re.fullmatch(r"v\d+|latest", alias, re.IGNORECASE)):
        raise ConfigError(f"alias {alias!r}", "use letters, digits, '-', '_' and '.'; 'latest' and 'v1' are reserved")


def register_model(tracking_uri: str, run_id: str, name: str, alias: str = "") -> RegisteredVersion:
    """Register a run's logged model as a version of a registered model, which is created if missing.

    Registering the same model again under the same name keeps its version; only the alias moves.

    Raises:
        ConfigError: the run logged no model, the name is invalid, or the server does not answer.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    check_names(name, alias)
    model_id = logged_model(tracking_uri, run_id)
    if not model_id:
        raise ConfigError(f"the run {run_id} has logged no model", "use the run's folder, so that it can be logged")
    client = MlflowClient(tracking_uri)
    with process_tracking_uri(tracking_uri), server_answers(tracking_uri):
        try:
            client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(name)
        source = f"models:/{model_id}"
        # The search leaves model_id empty, but the source names it.
        same = [known for known in client.search_model_versions(f"name = '{name}'") if known.source == source]
        made = same[0] if same else client.create_model_version(name, source, run_id=run_id, model_id=model_id)
        if alias:
            client.set_registered_model_alias(name, alias, str(made.version))
    return RegisteredVersion(name, int(made.version), alias)
