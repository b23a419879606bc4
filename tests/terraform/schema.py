"""Holds every resource, data source, block and argument of the module against the schema of AWS's provider.

Invariant: what `schema.json` does not know is wrong. Absent: types of values (Terraform itself checks them, against the
same schema, when the module is applied).
"""

import json
import pathlib

import hcl2

SCHEMA = json.loads((pathlib.Path(__file__).parent / "schema.json").read_text())["types"]
META = {"count", "depends_on", "for_each", "lifecycle", "provider"}
OURS = {"__comments__", "__inline_comments__", "__is_block__"}


def nested(value):
    """The blocks, if it is a list of blocks."""
    blocks = isinstance(value, list) and value and all(isinstance(one, dict) and "__is_block__" in one for one in value)
    return value if blocks else None


def compare(entry, body, meta=frozenset()):
    given = set(body) - OURS - meta
    for name in sorted(given):
        if blocks := nested(body[name]):
            if name in entry["blocks"]:
                for one in blocks:
                    yield from (f"{name}: {wrong}" for wrong in compare(entry["blocks"][name], one))
            else:
                yield f"there is no block {name}"
        elif name not in entry["arguments"]:
            yield f"there is no argument {name}"
    for name in entry["required"]:
        if name not in given:
            yield f"{name} is missing"


def check(module):
    """One result for each block in each file."""
    for path in sorted(module.rglob("*.tf")):
        with path.open() as file:
            document = hcl2.load(file)
        for kind, prefix in (("resource", ""), ("data", "data.")):
            for block in document.get(kind, []):
                ((type_, named),) = ((key, value) for key, value in block.items() if key not in OURS)
                ((name, body),) = ((key, value) for key, value in named.items() if key not in OURS)
                type_ = prefix + type_.strip('"')
                what = f"{path.relative_to(module)}: {type_} {name}"
                if type_ in SCHEMA:
                    yield what, list(compare(SCHEMA[type_], body, META))
                else:
                    yield what, [f"{type_} is not in schema.json; add it with extract.py"]
