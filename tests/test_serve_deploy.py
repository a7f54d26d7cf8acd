"""The image and the manifest with which the server runs elsewhere: what they name is there."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="comes with keras_gates[sweep]")
pytest.importorskip("starlette")

import yaml

from experiments.serve.scaled.options import parser_of

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "experiments" / "serve" / "deploy"
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}


@pytest.fixture(scope="module")
def instructions():
    """Pairs of the Dockerfile's instructions and what stands behind them."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def of_kind(instructions, kind):
    return [words for name, words in instructions if name == kind]


def test_every_instruction_is_one_and_the_image_begins_slim(instructions):
    assert {name for name, _ in instructions} <= INSTRUCTIONS
    assert instructions[0] == ("FROM", "python:3.11-slim")


def test_what_is_copied_is_there(instructions):
    for words in of_kind(instructions, "COPY"):
        *sources, _ = shlex.split(words)
        for source in sources:
            assert (ROOT / source).exists(), source


def test_the_package_is_copied_before_it_is_installed_with_an_extra_that_exists(instructions):
    at = next(at for at, (_, words) in enumerate(instructions) if "pip install" in words)
    extra = re.search(r'"\.\[(\w+)\]"', instructions[at][1])[1]
    assert f"\n{extra} =\n" in (ROOT / "setup.cfg").read_text()
    copied = {source for _, words in instructions[:at] for source in words.split()}
    assert {"setup.cfg", "pyproject.toml", "keras_gates"} <= copied


def test_the_image_runs_a_module_that_exists_as_a_user_without_rights(instructions):
    (command,) = map(json.loads, of_kind(instructions, "CMD"))
    assert command[:2] == ["python", "-m"]
    assert (ROOT / command[2].replace(".", "/") / "__main__.py").is_file()
    options = parser_of().parse_args(command[3:])
    assert options.host == "0.0.0.0" and of_kind(instructions, "EXPOSE") == [str(options.port)]
    kinds = [name for name, _ in instructions]
    assert kinds.index("USER") < kinds.index("CMD") and of_kind(instructions, "USER") != ["root"]
    made = " ".join(of_kind(instructions, "RUN"))
    assert f" {of_kind(instructions, 'USER')[0]}" in made.partition("useradd")[2]
    assert f":{options.port}/-/healthz" in of_kind(instructions, "HEALTHCHECK")[0]


@pytest.fixture(scope="module")
def manifest():
    return yaml.safe_load((DEPLOY / "rayservice.yaml").read_text())


def pods(manifest):
    cluster = manifest["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_manifest_has_what_kuberay_requires(manifest):
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayService")
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,45}[a-z0-9])?", manifest["metadata"]["name"])
    cluster = manifest["spec"]["rayClusterConfig"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", cluster["rayVersion"])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert group["groupName"]
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pod in pods(manifest):
        (container,) = pod["containers"]
        assert container["name"] and container["image"]
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys()
        assert {"serve", "metrics"} <= {port["name"] for port in container["ports"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert len({pod["containers"][0]["image"] for pod in pods(manifest)}) == 1


def test_the_application_of_the_manifest_exists_and_its_command_is_accepted(manifest):
    config = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    module, function = application["import_path"].split(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    options = parser_of().parse_args(shlex.split(application["args"]["command"]))
    assert options.host == config["http_options"]["host"]
    assert options.port == config["http_options"]["port"]
    assert f"{manifest['metadata']['name']}-serve-svc" in options.allow_host
    for pod in pods(manifest):
        (container,) = pod["containers"]
        assert options.model in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert options.port in {port["containerPort"] for port in container["ports"]}
