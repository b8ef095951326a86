"""What `kubectl kustomize` makes of a folder, for the features that infra/kubernetes uses: tests need no kubectl.

Each feature that a kustomization names and this does not know is an error, so nothing is passed over.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

_CLUSTER_WIDE = {"Namespace"}


def build(folder: Path) -> list[Resource]:
    """The resources of a kustomization, patched, with images, names and namespace filled in."""
    resources: list[Resource] = []
    _accumulate(folder, resources)
    return resources


def _accumulate(folder: Path, resources: list[Resource]) -> None:
    """Add a folder's resources, then apply its generators and transformers to all of them, as a component does."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    inherited = resources if kustomization.pop("kind") == "Component" else []
    for name in kustomization.pop("resources", []):
        if (folder / name).is_dir():
            _accumulate(folder / name, inherited)
        else:
            inherited += [document for document in yaml.safe_load_all((folder / name).read_text()) if document]
    for name in kustomization.pop("components", []):
        _accumulate(folder / name, inherited)
    for generator in kustomization.pop("configMapGenerator", []):
        inherited.append(_config_map(folder, generator))
    # Anchors make lists shared; a change of one must not change the others.
    inherited[:] = [_unshared(resource) for resource in inherited]
    for patch in kustomization.pop("patches", []):
        _patch(inherited, patch)
    namespace = kustomization.pop("namespace", None)
    for resource in inherited:
        if namespace and resource["kind"] not in _CLUSTER_WIDE:
            resource["metadata"]["namespace"] = namespace
    for image in kustomization.pop("images", []):
        _rename_images(inherited, image)
    for replacement in kustomization.pop("replacements", []):
        _replace(inherited, replacement)
    kustomization.pop("apiVersion")
    if kustomization:
        raise ValueError(f"{folder} uses fields that this reader does not know: {sorted(kustomization)}")
    if inherited is not resources:
        resources += inherited


def _unshared(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _unshared(value) for key, value in node.items()}
    return [_unshared(item) for item in node] if isinstance(node, list) else node


def _config_map(folder: Path, generator: dict[str, Any]) -> Resource:
    assert generator["options"] == {"disableNameSuffixHash": True}, "a suffix would have to be followed"
    lines = [line for file in generator["envs"] for line in (folder / file).read_text().splitlines()]
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": dict(pairs)}


def _selected(resources: list[Resource], target: dict[str, str]) -> list[Resource]:
    assert set(target) <= {"kind", "name"}, target
    return [
        resource
        for resource in resources
        if resource["kind"] == target["kind"] and target.get("name") in (None, resource["metadata"]["name"])
    ]


def _patch(resources: list[Resource], patch: dict[str, Any]) -> None:
    """JSON 6902: the only kind of patch that works alike on Kubernetes' own resources and on Ray's."""
    targets = _selected(resources, patch["target"])
    assert targets, f"nothing to patch: {patch['target']}"
    for resource in targets:
        for step in yaml.safe_load(patch["patch"]):
            *parents, last = step["path"].strip("/").split("/")
            node: Any = resource
            for name in parents:
                node = node[int(name) if isinstance(node, list) else name]
            key = int(last) if isinstance(node, list) else last
            assert isinstance(node, list) or key in node, f"nothing at {step['path']}"
            if step["op"] == "remove":
                del node[key]
            elif step["op"] == "replace":
                node[key] = copy.deepcopy(step["value"])
            else:
                raise ValueError(f"unknown operation {step['op']}")


def _rename_images(node: Any, image: dict[str, str]) -> None:
    for container in containers(node):
        if container["image"].partition(":")[0] == image["name"]:
            container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"


def containers(node: Any) -> Iterator[dict[str, Any]]:
    """Every container in a tree of resources."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("containers", "initContainers"):
                yield from value
            yield from containers(value)
    elif isinstance(node, list):
        for item in node:
            yield from containers(item)


def _replace(resources: list[Resource], replacement: dict[str, Any]) -> None:
    source = dict(replacement["source"])
    (value,) = _at(_selected(resources, {"kind": source["kind"], "name": source["name"]})[0], source["fieldPath"])
    for target in replacement["targets"]:
        for resource in _selected(resources, target["select"]):
            for path in target["fieldPaths"]:
                *parents, last = path.split(".")
                nodes = list(_at(resource, ".".join(parents)))
                assert nodes, f"no {path} in {resource['kind']}"
                for node in nodes:
                    assert last in node, f"no {path} in {resource['kind']}"
                    node[last] = value


def _at(node: Any, path: str) -> Iterator[Any]:
    """The values at a dotted path, in which `*` is every item of a list and a number one of them."""
    first, _, rest = path.partition(".")
    found = node if first == "*" else [node[int(first) if isinstance(node, list) else first]]
    for item in found:
        if rest:
            yield from _at(item, rest)
        else:
            yield item
