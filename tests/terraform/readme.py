"""Holds the README's tables against the module's variables and outputs.

Invariant: each variable and output stands there once, with its type, default and description, in the module's order.
"""

import re

import hcl2


def plain(value):
    return value.strip('"').replace('\\"', '"')


def of_type(value):
    return value.removeprefix("${").removesuffix("}")


def default(body):
    if "default" not in body:
        return "required"
    value = body["default"]
    if value is None or value == "null":
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{plain(one)}"' for one in value) + "]`"
    if isinstance(value, dict):
        return "`{}`"
    return f'`"{plain(value)}"`' if isinstance(value, str) else f"`{value}`"


def named(module, file, kind):
    with (module / file).open() as opened:
        for block in hcl2.load(opened)[kind]:
            for name, body in block.items():
                if not name.startswith("__"):
                    yield plain(name), body


def check(module):
    text = (module / "README.md").read_text()
    inputs = [
        f"| `{name}` | `{of_type(body['type'])}` | {default(body)} | {plain(body['description'])} |"
        for name, body in named(module, "variables.tf", "variable")
    ]
    outputs = [f"| `{name}` | {plain(body['description'])} |" for name, body in named(module, "outputs.tf", "output")]
    for line in inputs + outputs:
        yield line, [] if text.count(line + "\n") == 1 else ["the README has no such line"]
    rows = re.findall(r"^\| `\w+` \|.*\|$", text.partition("## Inputs")[2], re.M)
    yield "no line too many", [line for line in rows if line not in inputs + outputs]
    policy = (module / "modules/policy/main.tf").read_text()
    for name in re.findall(r'^        Sid += "(\w+)"', policy, re.M):
        yield f"explains {name}", [] if f"`{name}`" in text else ["the README does not name this statement"]
    for name in re.findall(r"^    (\w+) += \{ most", (module / "alarms.tf").read_text(), re.M):
        yield f"explains the alarm {name}", [] if f"`NAME-{name}`" in text else ["the README does not name this alarm"]
