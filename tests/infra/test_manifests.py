"""The deployment files, checked offline against the schemas of what will read them."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
SCHEMAS = Path(os.environ.get("RAYLIFT_KUBERAY_SCHEMAS", ROOT.parent / "shared" / "schemas"))


def _strict(schema: Any) -> Any:
    """The schema with unknown properties forbidden wherever properties are listed."""
    if isinstance(schema, dict):
        closed = {key: _strict(value) for key, value in schema.items()}
        if "properties" in closed and not closed.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
        return closed
    return [_strict(item) for item in schema] if isinstance(schema, list) else schema


def _problems(document: dict[str, Any]) -> list[str]:
    import jsonschema

    crd = yaml.safe_load((SCHEMAS / f"ray.io_{document['kind'].lower()}s.yaml").read_text())
    version = next(version for version in crd["spec"]["versions"] if version["name"] == "v1")
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return [f"{error.json_path}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(document)]


@pytest.mark.schemas
@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_kuberay_accepts_it(name: str) -> None:
    assert _problems(yaml.safe_load((KUBERNETES / name).read_text())) == []


@pytest.mark.schemas
@pytest.mark.parametrize(
    "plant",
    [
        lambda spec: spec.update(shutDownAfterJobFinishes=True),
        lambda spec: spec.update(backoffLimit="two"),
        lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].pop("template"),
    ],
)
def test_the_strict_schema_catches_planted_errors(plant: Any) -> None:
    document = copy.deepcopy(yaml.safe_load((KUBERNETES / "rayjob.yaml").read_text()))
    plant(document["spec"])
    assert _problems(document)


def test_kubernetes_accepts_the_tracking_server() -> None:
    import kubernetes_validate

    documents = list(yaml.safe_load_all((KUBERNETES / "mlflow.yaml").read_text()))
    assert len(documents) == 4
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_rays_launcher_accepts_the_cluster() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((ROOT / "infra" / "cluster.yaml").read_text())
    validate_config(prepare_config(config))


def test_the_job_calls_a_script_and_a_recipe_that_exist() -> None:
    from raylift.models import catalogue

    words = yaml.safe_load((KUBERNETES / "rayjob.yaml").read_text())["spec"]["entrypoint"].split()
    assert (ROOT / words[1].removeprefix("/opt/raylift/")).is_file()
    catalogue.get(words[2], [word for word in words if "=" in word])
