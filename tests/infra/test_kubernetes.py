"""The Kubernetes files: built as kustomize builds them, checked against the schemas, and against the code's needs."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.kustomize import Resource, build, containers

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
SCHEMAS = Path(os.environ.get("RAYLIFT_KUBERAY_SCHEMAS", ROOT.parent / "shared" / "schemas"))
OVERLAYS = ["standing", "job", "small"]
RAY = {"RayCluster", "RayJob"}


def _overlay(name: str) -> list[Resource]:
    return copy.deepcopy(_built(name))


@lru_cache
def _built(name: str) -> list[Resource]:
    return build(KUBERNETES / "overlays" / name)


def _only(resources: list[Resource], kind: str) -> Resource:
    (found,) = [resource for resource in resources if resource["kind"] == kind]
    return found


def _cluster(resources: list[Resource]) -> dict[str, Any]:
    """The spec of a RayCluster, or the one in a RayJob."""
    (found,) = [resource for resource in resources if resource["kind"] in RAY]
    return found["spec"] if found["kind"] == "RayCluster" else found["spec"]["rayClusterSpec"]


def _group(resources: list[Resource], name: str) -> dict[str, Any]:
    (found,) = [group for group in _cluster(resources)["workerGroupSpecs"] if group["groupName"] == name]
    return found


def _pod_specs(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from _pod_specs(value)
    elif isinstance(node, list):
        for item in node:
            yield from _pod_specs(item)


def _strict(schema: Any) -> Any:
    """The schema with unknown properties forbidden wherever properties are listed."""
    if isinstance(schema, dict):
        closed = {key: _strict(value) for key, value in schema.items()}
        if "properties" in closed and not closed.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
        return closed
    return [_strict(item) for item in schema] if isinstance(schema, list) else schema


@lru_cache
def _validator(kind: str) -> Any:
    import jsonschema

    # A megabyte of YAML: libyaml's loader, where it is built in, takes a tenth of the time.
    crd = yaml.load(
        (SCHEMAS / f"ray.io_{kind.lower()}s.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    version = next(version for version in crd["spec"]["versions"] if version["name"] == "v1")
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(schema)


def _problems(document: Resource) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in _validator(document["kind"]).iter_errors(document)]


@pytest.mark.schemas
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kuberay_accepts_it(overlay: str) -> None:
    documents = [resource for resource in _overlay(overlay) if resource["kind"] in RAY]
    assert documents
    assert [problem for document in documents for problem in _problems(document)] == []


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
    document = copy.deepcopy(_only(_overlay("job"), "RayJob"))
    plant(document["spec"])
    assert _problems(document)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_accepts_the_rest(overlay: str) -> None:
    import kubernetes_validate

    version = kubernetes_validate.latest_version()
    documents = [resource for resource in _overlay(overlay) if resource["kind"] not in RAY]
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_accepts_the_pods_in_rays_resources(overlay: str) -> None:
    import kubernetes_validate

    version = kubernetes_validate.latest_version()
    pods = [spec for resource in _overlay(overlay) if resource["kind"] in RAY for spec in _pod_specs(resource)]
    assert len(pods) >= 2
    for spec in pods:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_the_same(overlay: str) -> None:
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    theirs = [document for document in yaml.safe_load_all(done.stdout) if document]

    def key(resource: Resource) -> tuple[str, str]:
        return resource["kind"], resource["metadata"]["name"]

    assert sorted(theirs, key=key) == sorted(_overlay(overlay), key=key)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_bucket_image_and_secret_are_named_once(overlay: str, tmp_path: Path) -> None:
    copied = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    settings = copied / "settings"
    env, names = settings / "settings.env", settings / "kustomization.yaml"
    env.write_text(env.read_text().replace("s3://my-bucket", "s3://ours").replace("=raylift-s3", "=our-keys"))
    names.write_text(names.read_text().replace("registry.example.org", "ours.test").replace("REVISION-cuda", "abc-cpu"))
    built = yaml.safe_dump(build(copied / "overlays" / overlay))
    for old in ("my-bucket", "raylift-s3", "registry.example.org", "REVISION"):
        assert old not in built
    for new in ("s3://ours", "our-keys", "ours.test/raylift:abc-cpu"):
        assert new in built


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_image_floats(overlay: str) -> None:
    for container in containers(_overlay(overlay)):
        _, _, tag = container["image"].partition(":")
        assert tag not in ("", "latest"), container["image"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_locked(overlay: str) -> None:
    specs = list(_pod_specs(_overlay(overlay)))
    assert specs
    for spec in specs:
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_has_a_network_policy(overlay: str) -> None:
    resources = _overlay(overlay)
    policies = [resource["spec"]["podSelector"]["matchLabels"] for resource in resources if _is_policy(resource)]

    def templates(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "containers" in node.get("spec", {}):
                yield node
            for value in node.values():
                yield from templates(value)
        elif isinstance(node, list):
            for item in node:
                yield from templates(item)

    for template in templates(resources):
        labels = template["metadata"]["labels"]
        if labels["app.kubernetes.io/component"] == "mlflow-backup":
            continue  # it runs for a minute, and nothing listens in it
        assert any(policy.items() <= labels.items() for policy in policies), labels


def _is_policy(resource: Resource) -> bool:
    return bool(resource["kind"] == "NetworkPolicy")


@pytest.mark.parametrize("overlay", ["standing", "job"])
def test_data_tasks_fit_on_cpu_nodes_only(overlay: str) -> None:
    """A GPU node's CPUs are its trainer's: what the code asks Ray for decides where the data tasks run."""
    from raylift.config.recipe import ScaleConfig

    scale = ScaleConfig(gpu="always")
    gpu = _group(_overlay(overlay), "gpu")
    left = float(gpu["rayStartParams"]["num-cpus"]) - scale.cpus_per_worker * _gpus(gpu) / scale.gpus_per_worker
    assert 0 <= left < scale.data_cpus
    assert "num-cpus" not in _group(_overlay(overlay), "cpu")["rayStartParams"]


def _gpus(group: dict[str, Any]) -> float:
    (container,) = group["template"]["spec"]["containers"]
    return float(container["resources"]["limits"]["nvidia.com/gpu"])


def test_gpu_nodes_tolerate_their_taint() -> None:
    for overlay in ("standing", "job"):
        spec = _group(_overlay(overlay), "gpu")["template"]["spec"]
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_ray_spills_is_bounded(overlay: str) -> None:
    cluster = _cluster(_overlay(overlay))
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        folder = group["rayStartParams"]["object-spilling-directory"]
        spec = group["template"]["spec"]
        (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["mountPath"] == folder]
        (volume,) = [each for each in spec["volumes"] if each["name"] == mount["name"]]
        assert volume["emptyDir"]["sizeLimit"]
        assert spec["containers"][0]["resources"]["limits"]["ephemeral-storage"]


def test_the_job_calls_a_script_and_a_recipe_that_exist() -> None:
    from raylift.models import catalogue

    job = _only(_overlay("job"), "RayJob")["spec"]
    shell, wrapper, script, recipe, *words = job["entrypoint"].split()
    assert shell == "bash"
    assert (ROOT / wrapper.removeprefix("/opt/raylift/")).is_file()
    assert (ROOT / "jobs" / script).is_file()
    built = catalogue.get(recipe, [word for word in words if "=" in word])
    # All nodes are there before the driver starts, so the job must ask for no more.
    gpu, cpu = (_group(_overlay("job"), name) for name in ("gpu", "cpu"))
    assert gpu["replicas"] * _gpus(gpu) == built.scale.workers * built.scale.gpus_per_worker
    cpus = float(cpu["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    assert cpu["replicas"] * cpus >= built.scale.workers * built.scale.data_cpus


def test_rays_versions_agree() -> None:
    import ray

    for overlay in OVERLAYS:
        assert _cluster(_overlay(overlay))["rayVersion"] == ray.__version__


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_only_referred_to(overlay: str) -> None:
    assert not [resource for resource in _overlay(overlay) if resource["kind"] == "Secret"]
    for container in containers(_overlay(overlay)):
        for variable in container.get("env", []):
            secret = any(word in variable["name"] for word in ("PASSWORD", "SECRET", "KEY", "TOKEN"))
            assert not (secret and "value" in variable), variable
