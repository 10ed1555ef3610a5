"""What the rest of the repository says: settings, metrics, ports, versions, paths. The manifests are compared with it."""

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]

# The programs by the names of their images.
PROGRAMS = {"hamro-api": "api", "hamro-worker": "worker"}


@dataclass(frozen=True)
class Setting:
    """A row of the table of settings in docs/ARCHITECTURE.md, which a test compares with the code."""

    default: str
    programs: tuple[str, ...]
    is_secret: bool

    @property
    def is_required(self):
        """Whether a program does not start without it."""
        return self.default == "required"


@cache
def settings():
    """All settings by name."""
    text = read("docs/ARCHITECTURE.md").split("<!-- `make settings` writes this table. -->")[1]
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*?) \| .* \| (.*?) \|$", text.split("<!-- end")[0], re.M)
    return {
        name: Setting(default.strip("`"), tuple(programs.split(", ")), form.endswith("; secret"))
        for name, default, programs, form in rows
    }


@cache
def metrics():
    """The names of all metrics in docs/METRICS.md, which a test compares with the programs."""
    return set(re.findall(r"^\| `([a-z_]+)` \| (?:counter|gauge|histogram) \|", read("docs/METRICS.md"), re.M))


@cache
def image_environment(program):
    """The variables that the image of a program sets."""
    stage = read("Dockerfile").split(f"AS {PROGRAMS[program]}\n")[1].split("\nFROM ")[0]
    return dict(re.findall(r"([A-Z_]+)=(\S+)", "\n".join(re.findall(r"^ENV (.*)$", stage, re.M))))


def image_user():
    """The numeric user of the images."""
    return int(re.search(r"^USER (\d+):\d+$", read("Dockerfile"), re.M).group(1))


def port(program):
    """The port on which a program answers health checks."""
    environment = image_environment(program)
    return int(environment.get("PORT") or environment["WORKER_HTTP_PORT"])


def health_paths(program):
    """The paths of the program's health checks."""
    source = {"hamro-api": "api/src/health", "hamro-worker": "worker/src/readiness.rs"}[program]
    files = [ROOT / source] if source.endswith(".rs") else (ROOT / source).glob("*.rs")
    return {path for file in files for path in re.findall(r'"(/health/[a-z]+)"', file.read_text())}


def version():
    """The version of the programs."""
    return re.search(r'^version = "(.*)"$', read("Cargo.toml"), re.M).group(1)


@cache
def compose():
    """docker-compose.yml."""
    return yaml.safe_load(read("docker-compose.yml"))


def postgres_parameters():
    """The parameters of Postgres in docker-compose.yml, except those that depend on the size of the machine."""
    arguments = (argument.removeprefix("--") for argument in compose()["services"]["postgres"]["command"])
    parameters = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    return {name: value for name, value in parameters.items() if "$" not in value}


def rabbitmq_settings(is_cluster):
    """The settings of RabbitMQ in the Compose files, except those of their machines: disk space, names of nodes."""
    text = compose()["configs"]["rabbitmq"]["content"]
    if is_cluster:
        text += yaml.safe_load(read("docker-compose.cluster.yml"))["configs"]["rabbitmq-cluster"]["content"]
    return {
        name: value
        for name, value in configuration(text).items()
        if not name.startswith(("cluster_formation.", "disk_free_limit."))
    }


def configuration(text):
    """The settings of a file such as rabbitmq.conf."""
    return dict(re.findall(r"^([^#\s]\S*) *= *(.*)$", text, re.M))


@cache
def public_paths():
    """The paths of the OpenAPI document, of the booking page, and of the documentation."""
    snapshot = next((ROOT / "api/tests/it/snapshots").glob("*openapi_document*.snap")).read_text()
    document = json.loads(snapshot.split("\n---\n", 1)[1])
    pages = re.findall(r'\.route\("(/[^"]*)"', read("api/src/booking_page/mod.rs"))
    if "/" not in pages:
        raise ValueError("found no routes in api/src/booking_page/mod.rs")
    return ["/docs", "/openapi.json", *pages, *document["paths"]]


@cache
def secrets():
    """The Secrets that deploy/kubernetes/secrets.sh makes, by name."""
    output = subprocess.run([ROOT / "deploy/kubernetes/secrets.sh"], check=True, capture_output=True, text=True).stdout
    return {thing["metadata"]["name"]: thing["stringData"] for thing in yaml.safe_load_all(output)}


def read(path):
    """The text of a file."""
    return (ROOT / path).read_text()
