"""What is shipped for clusters: valid files, of the versions that are pinned, with a token and no open dashboard."""

import re
import tomllib
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml

from fltac import __version__

ROOT = Path(__file__).parents[1]
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def launcher():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def rayjob():
    return yaml.safe_load((ROOT / "deploy" / "rayjob.yaml").read_text())


def test_the_launchers_file_is_the_only_yaml_at_the_top_and_fits_rays_schema(launcher):
    from ray.autoscaler._private.util import prepare_config, validate_config

    assert [file.name for file in ROOT.glob("*.y*ml") if not file.name.startswith(".")] == ["cluster.yaml"]
    prepared = prepare_config(launcher)
    validate_config(prepared)
    assert prepared["available_node_types"]["gpu"]["resources"]["GPU"] == 1
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepared | {"idle_timeout": 5})


def test_the_launchers_cluster_has_a_token_a_closed_dashboard_and_no_idle_workers(launcher):
    starts = [command for key in ("head", "worker") for command in launcher[f"{key}_start_ray_commands"]]
    starts = [command for command in starts if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in re.sub(r"FLTAC_\w+=\S+ ", "", one) for one in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "/home/ray/.ray/auth_token" in launcher["file_mounts"]
    assert "chmod 600 ~/.ray/auth_token" in launcher["setup_commands"]
    assert launcher["available_node_types"]["gpu"]["min_workers"] == 0
    assert launcher["idle_timeout_minutes"] > 0


def shape(required: str = "", **fields: object) -> dict:
    """An object of these fields and no others."""
    return {"type": "object", "properties": fields, "required": required.split(), "additionalProperties": False}


TEXT, COUNT, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
AMOUNTS = shape("cpu memory", **dict.fromkeys(("cpu", "memory", "nvidia.com/gpu"), TEXT))
CONTAINER = shape(
    "name image resources",
    name=NAME,
    image=TEXT,
    env={"type": "array", "items": shape("name value", name=TEXT, value=TEXT)},
    ports={"type": "array", "items": shape("containerPort", containerPort=COUNT, name=NAME)},
    resources=shape("requests limits", requests=AMOUNTS, limits=AMOUNTS),
    securityContext=shape(allowPrivilegeEscalation={"const": False}),
    volumeMounts={"type": "array", "items": shape("name mountPath", name=NAME, mountPath=TEXT)},
)
POD = shape(
    "spec",
    spec=shape(
        "containers",
        automountServiceAccountToken={"const": False},
        terminationGracePeriodSeconds=COUNT,
        securityContext=shape(runAsNonRoot={"const": True}, runAsUser=COUNT, fsGroup=COUNT),
        containers={"type": "array", "minItems": 1, "items": CONTAINER},
        volumes={
            "type": "array",
            "items": shape("name", name=NAME, persistentVolumeClaim=shape("claimName", claimName=NAME)),
        },
    ),
)
PARAMS = {"type": "object", "additionalProperties": TEXT}  # KubeRay takes words only: "0", not 0
RAYJOB = shape(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=shape("name", name=NAME),
    spec=shape(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        backoffLimit=COUNT,
        rayClusterSpec=shape(
            "rayVersion authOptions headGroupSpec",
            rayVersion=TEXT,
            authOptions=shape("mode", mode={"const": "token"}),
            headGroupSpec=shape("template rayStartParams", template=POD, rayStartParams=PARAMS),
            workerGroupSpecs={
                "type": "array",
                "items": shape(
                    "groupName template",
                    groupName=NAME,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=PARAMS,
                    template=POD,
                ),
            },
        ),
    ),
)


def test_the_rayjob_has_the_fields_that_kuberay_knows_and_no_others(rayjob):
    """The part of KubeRay's schema that the file uses, written down here: it is in no package."""
    jsonschema.validate(rayjob, RAYJOB)
    pods = [rayjob["spec"]["rayClusterSpec"]["headGroupSpec"], *rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in pods):
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_versions_agree_everywhere(launcher, rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = {container["image"] for group in groups for container in group["template"]["spec"]["containers"]}
    assert images == {launcher["docker"]["image"]} == {f"fltac:{__version__}"}
    assert f"docker build -t fltac:{__version__} ." in DOCKERFILE
    assert cluster["rayVersion"] == PINNED["ray"]
    python = re.search(r"^FROM python:(3\.\d+)\.\d+-", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f">={python[1]}" == project["requires-python"]
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line or "requirements-samples.txt" in line for line in installs)
    wanted = [*project["dependencies"], *project["optional-dependencies"]["generation"]]
    names = {re.split(r"[\[>=]", line)[0].lower().replace("-", "_") for line in wanted}
    assert names <= {name.lower().replace("-", "_") for name in PINNED}


def test_what_the_image_copies_is_there_and_not_kept_from_it():
    kept = (ROOT / ".dockerignore").read_text().split()
    copied = [name for line in DOCKERFILE.splitlines() if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert "fltac" in copied
    assert all((ROOT / name).exists() and f"!{name}" in kept for name in copied)


def test_a_job_is_sent_the_package_and_the_experiments_and_nothing_heavy(tmp_path):
    from ray._private.runtime_env.packaging import create_package

    folder = tmp_path / "folder"
    for name in (".venv/lib.py", "runs/one/updates.bin", "tests/test_it.py", ".models/model.bin", "fltac/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / ".rayignore").write_text((ROOT / ".rayignore").read_text())
    (folder / "quickstart.toml").write_text("x")
    create_package(str(folder), tmp_path / "sent.zip", include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "sent.zip") as sent:
        files = {name for name in sent.namelist() if not name.endswith("/")}
    assert files == {"fltac/__init__.py", "quickstart.toml", ".rayignore"}
