"""The AWS launcher file and the roles it names: Ray's own steps of `ray up`, against a stand-in for EC2 and IAM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
AWS = ROOT / "infra" / "aws"
INSTALL = (ROOT / "infra" / "image" / "install.sh").read_text()
DOCKERFILE = (ROOT / "infra" / "image" / "Dockerfile").read_text()


def _config() -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((AWS / "cluster.yaml").read_text())
    prepared: dict[str, Any] = prepare_config(config)
    validate_config(prepared)
    return prepared


def test_rays_launcher_accepts_the_cluster() -> None:
    assert _config()["cluster_name"] == "raylift"


def test_every_node_has_a_machine_image_a_role_and_a_disk() -> None:
    for name, node in _config()["available_node_types"].items():
        machine = node["node_config"]
        # Ray's default is an image of 2023, whose driver is too old for CUDA 13.
        assert machine["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver")
        assert not re.search(r"\s", machine["ImageId"])
        assert machine["IamInstanceProfile"]["Name"] == ("raylift-head" if name == "head" else "raylift-worker")
        assert machine["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 100


def test_a_token_and_its_mode_come_together() -> None:
    config = _config()
    mode = any("RAY_AUTH_MODE=token" in option for option in config["docker"]["run_options"])
    assert mode == ("~/.ray/auth_token" in config["file_mounts"])
    assert mode
    assert "RAY_AUTH_MODE" not in DOCKERFILE


def test_the_image_has_what_the_launcher_calls_in_it() -> None:
    from ray.autoscaler._private import command_runner

    source = Path(command_runner.__file__).read_text()
    system = INSTALL.partition("install_system()")[2].partition("install_raylift()")[0]
    installed = " ".join(re.findall(r"^ {4}(.+?)(?: >.*)?$", system, re.MULTILINE))
    for call, package in {"rsync -e": "rsync", '["ssh"': "openssh-client"}.items():
        assert call in source, f"Ray's launcher no longer calls {call}"
        assert package in installed.split()


def test_the_image_is_not_a_local_name() -> None:
    docker = _config()["docker"]
    registry, _, tag = docker["image"].partition("/")[0], *docker["image"].rpartition(":")[1:]
    assert docker["pull_before_run"]
    assert "." in registry
    assert tag not in ("", "latest")


def test_ssh_is_not_open_to_the_world() -> None:
    for rule in _config()["provider"]["security_group"]["IpPermissions"]:
        assert all(each["CidrIp"] != "0.0.0.0/0" for each in rule["IpRanges"])


def test_data_tasks_fit_on_cpu_nodes_only() -> None:
    from raylift.config.recipe import ScaleConfig

    scale, nodes = ScaleConfig(gpu="always"), _config()["available_node_types"]
    gpu = nodes["gpu"]["resources"]
    assert 0 <= gpu["CPU"] - scale.cpus_per_worker * gpu["GPU"] / scale.gpus_per_worker < scale.data_cpus
    assert nodes["cpu"]["resources"]["CPU"] >= scale.data_cpus * nodes["gpu"]["max_workers"]


def test_cloudformation_accepts_the_roles() -> None:
    from cfnlint.api import lint_file

    assert [str(match) for match in lint_file(AWS / "roles.yaml")] == []


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An AWS account with the roles of roles.yaml, and a home with a token."""
    from moto import mock_aws

    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("0" * 64)
    monkeypatch.setenv("HOME", str(home))
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        import boto3

        boto3.client("cloudformation").create_stack(
            StackName="raylift-roles",
            TemplateBody=(AWS / "roles.yaml").read_text(),
            Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "my-bucket"}],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        yield


@pytest.mark.usefixtures("account")
def test_the_launcher_starts_machines_with_their_roles() -> None:
    import boto3
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    ec2 = boto3.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    config = bootstrap_aws(_config())
    provider = AWSNodeProvider(config["provider"], "raylift")
    for name in ("head", "gpu", "cpu"):
        machine = config["available_node_types"][name]["node_config"]
        # The stand-in does not look parameters up as AWS does.
        assert machine["ImageId"].startswith("resolve:ssm:")
        tags = {"ray-node-type": "head" if name == "head" else "worker", "ray-user-node-type": name}
        provider.create_node({**machine, "ImageId": image}, tags, 1)
    found = [one for each in ec2.describe_instances()["Reservations"] for one in each["Instances"]]
    profiles = {
        tag["Value"]: one["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        for one in found
        for tag in one["Tags"]
        if tag["Key"] == "ray-user-node-type"
    }
    assert profiles == {"head": "raylift-head", "gpu": "raylift-worker", "cpu": "raylift-worker"}
    assert all({"Key": "ray-cluster-name", "Value": "raylift"} in one["Tags"] for one in found)


class _Template(yaml.SafeLoader):
    """CloudFormation's tags (!Ref, !Sub, !GetAtt), read as the text they stand before."""


_Template.add_multi_constructor("!", lambda loader, tag, node: loader.construct_scalar(node))


def _statements(role: dict[str, Any], resources: dict[str, Any]) -> list[dict[str, Any]]:
    own = [each["PolicyDocument"] for each in role.get("Policies", [])]
    managed = [
        resources[name]["Properties"]["PolicyDocument"] for name in role["ManagedPolicyArns"] if name in resources
    ]
    return [statement for document in own + managed for statement in document["Statement"]]


def test_all_nodes_may_use_the_bucket_and_only_the_head_starts_machines() -> None:
    resources = yaml.load((AWS / "roles.yaml").read_text(), _Template)["Resources"]
    roles = {name: _statements(resources[f"{name}Role"]["Properties"], resources) for name in ("Head", "Worker")}
    for statements in roles.values():
        (objects,) = [one for one in statements if "s3:PutObject" in one["Action"]]
        assert objects["Resource"].endswith(":${Bucket}/*")
    (passing,) = [one for one in roles["Head"] if one["Action"] == "iam:PassRole"]
    assert passing["Resource"] == "WorkerRole.Arn"
    assert not any("ec2:" in str(one["Action"]) or "iam:" in str(one["Action"]) for one in roles["Worker"])
