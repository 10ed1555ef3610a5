"""Makes the JSON schemas beside this file of the definitions that the operators publish, as README.md says.

    python extract.py DEFINITION.yaml…

A definition describes its fields in texts, which take most of its size and are left out. A structural schema names all
fields; the API server drops others. Here they are an error, because a dropped field is a misspelt one.
"""

import json
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent


# They add conditions to a schema, and name only the fields that these are about.
CONDITIONS = ("allOf", "anyOf", "oneOf", "not")
LEFT_OUT = ("description", "example", "format", "nullable")
RULES = "x-kubernetes-validations"


def strict(schema, is_condition=False):
    """Returns the schema without its texts, and without room for unknown fields."""
    if isinstance(schema, list):
        return [strict(part, is_condition) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "properties":
            # A field may be called "description".
            kept[key] = {name: strict(field, is_condition) for name, field in value.items()}
        elif key == "x-kubernetes-int-or-string":
            kept["type"] = ["integer", "string"]
        elif key == "default":
            # The rules rely on it.
            kept[key] = value
        elif key == RULES:
            kept[key] = rules(value)
        elif key not in LEFT_OUT and not key.startswith("x-kubernetes-"):
            kept[key] = strict(value, is_condition or key in CONDITIONS)
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not is_open and not is_condition:
        kept["additionalProperties"] = False
    return kept


def rules(value):
    """The rules in CEL about an object, without those about a change of it."""
    return [
        {"rule": rule["rule"], "message": rule.get("message", rule["rule"])}
        for rule in value
        if "oldSelf" not in rule["rule"]
    ]


def extract(path):
    """Writes the schema of the version that is stored."""
    spec = yaml.safe_load(path.read_text())["spec"]
    version = next(version for version in spec["versions"] if version["storage"])
    schema = strict(version["schema"]["openAPIV3Schema"])
    # The definitions leave the metadata open. These are the fields that are written by hand.
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    schema["properties"]["metadata"] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "labels": texts,
            "annotations": texts,
        },
    }
    # The operator writes the status.
    schema["properties"].pop("status", None)
    name = f"{spec['group']}_{version['name']}_{spec['names']['kind']}.json"
    (HERE / name).write_text(json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n")
    print(name)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        extract(Path(argument))
