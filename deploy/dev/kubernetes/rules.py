"""Evaluates the rules of custom resources (CEL) as the API server does: with the defaults of the schema filled in."""

from functools import cache

import celpy

ENVIRONMENT = celpy.Environment()


def problems(schema, thing):
    """The messages of the rules that an object, valid by its schema, does not satisfy. Changes the object."""
    fill_in(schema, thing)
    yield from violations(schema, thing, "$")


def children(schema, value):
    """The parts of a value that have a schema of their own: name, schema, value."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"[{index}]", schema.get("items", {}), item
    elif isinstance(value, dict):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, field in value.items():
            if name in fields:
                yield f".{name}", fields[name], field
            elif isinstance(others, dict):
                yield f".{name}", others, field


def fill_in(schema, value):
    """Adds missing fields that have a default."""
    if isinstance(value, dict):
        for name, field in schema.get("properties", {}).items():
            if "default" in field:
                value.setdefault(name, field["default"])
    for _, part, item in children(schema, value):
        fill_in(part, item)


def violations(schema, value, path):
    """The rules of this schema and of its parts."""
    for rule in schema.get("x-kubernetes-validations", []):
        if not program(rule["rule"]).evaluate({"self": celpy.json_to_cel(value)}):
            yield f"{path}: {rule['message']}"
    for name, part, item in children(schema, value):
        yield from violations(part, item, path + name)


@cache
def program(rule):
    """The compiled rule."""
    return ENVIRONMENT.program(ENVIRONMENT.compile(rule))
