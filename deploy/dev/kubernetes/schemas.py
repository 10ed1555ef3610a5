"""Validates objects: those of Kubernetes by kubernetes-validate, those of operators by the schemas in schemas/."""

import json
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate

import rules

# The oldest and the newest that the manifests are meant for.
KUBERNETES_VERSIONS = ("1.33", "1.37")
DIRECTORY = Path(__file__).resolve().parent / "schemas"
# API groups of Kubernetes itself end with this, or have no dot.
OF_KUBERNETES = ".k8s.io"


def problems(thing):
    """What is wrong with an object, one text each."""
    return of_text(json.dumps(thing))


@cache
def of_text(text):
    """The same for its text. The tests check the same objects many times."""
    thing = json.loads(text)
    group = thing["apiVersion"].rpartition("/")[0]
    if custom_schema(thing).exists():
        return custom_problems(thing)
    if "." not in group or group.endswith(OF_KUBERNETES):
        return [problem for version in KUBERNETES_VERSIONS for problem in kubernetes_problems(thing, version)]
    return [f"there is no schema of it: add {custom_schema(thing).name} (deploy/dev/kubernetes/schemas/README.md)"]


def custom_schema(thing):
    """The file of its schema, if it is a custom resource."""
    return DIRECTORY / f"{thing['apiVersion'].replace('/', '_')}_{thing['kind']}.json"


def custom_problems(thing):
    """By the schema of its operator, and by the rules in it."""
    schema = json.loads(custom_schema(thing).read_text())
    found = [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(thing)
    ]
    return found or list(rules.problems(schema, thing))


def kubernetes_problems(thing, version):
    """By the schema of this version of Kubernetes, which allows no unknown fields."""
    try:
        kubernetes_validate.validate(thing, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"Kubernetes {version}: {'.'.join(str(part) for part in error.path)}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"Kubernetes {version} has no {thing['apiVersion']} {thing['kind']}"]
    return []
