"""Decides calls by a key policy, or a trust policy, as IAM documents it.

Invariant: an element, operator or condition key that is not known here is an error, never ignored. Where a policy names
the account (`..:root`), every principal of the account is taken to have all of IAM's permissions: the worst case. Absent:
grants, IAM policies themselves, wildcards within a name.
"""

import dataclasses

ELEMENTS = {"Action", "Condition", "Effect", "Principal", "Resource", "Sid"}
CONTEXT = "kms:EncryptionContext:"
KEYS = {
    "aws:MultiFactorAuthAge",
    "aws:MultiFactorAuthPresent",
    "aws:PrincipalType",
    "kms:EncryptionContextKeys",
    "kms:ReEncryptOnSameKey",
}


@dataclasses.dataclass(frozen=True)
class Call:
    principal: str
    action: str
    context: tuple = ()  # of pairs
    keys: tuple = ()  # of pairs: further condition keys of the request


def listed(value):
    return [value] if isinstance(value, str) else value


def found(call, key):
    """The values that the request has for a condition key."""
    if key.startswith(CONTEXT):  # compared without regard to case
        name = key.removeprefix(CONTEXT).lower()
        return [value for known, value in call.context if known.lower() == name]
    if key not in KEYS:
        raise ValueError(f"the condition key {key} is not known here")
    if key == "kms:EncryptionContextKeys":
        return [name for name, _ in call.context]
    return [value for known, value in call.keys if known == key]


def holds(operator, key, wanted, call):
    values, wanted = found(call, key), listed(wanted)
    if operator == "ForAllValues:StringEquals":
        return all(value in wanted for value in values)
    if operator == "Null":
        return [str(not values).lower()] == wanted
    if len(values) > 1:
        raise ValueError(f"{key} has several values; {operator} is for one")
    if operator in ("Bool", "StringEquals"):
        return any(value in wanted for value in values)
    if operator == "NumericLessThan":
        return any(float(value) < float(limit) for value in values for limit in wanted)
    raise ValueError(f"the operator {operator} is not known here")


def names(principals, principal):
    if principals == "*":
        return True
    if set(principals) != {"AWS"}:
        raise ValueError(f"a principal of another kind: {principals}")
    account = principal.split(":")[4]
    return any(
        one in ("*", principal) or (one.endswith(":root") and one.split(":")[4] == account)
        for one in listed(principals["AWS"])
    )


def applies(statement, call):
    if not set(statement) <= ELEMENTS:
        raise ValueError(f"not known here: {set(statement) - ELEMENTS}")
    if statement.get("Resource", "*") != "*":
        raise ValueError("in a key policy, `*` is this key; anything else is a mistake")
    actions = listed(statement["Action"])
    conditions = statement.get("Condition", {})
    # All are looked at, so that an unknown one is found whatever the call.
    met = [
        holds(operator, key, wanted, call) for operator, tests in conditions.items() for key, wanted in tests.items()
    ]
    matches = any(
        call.action.lower() == action.lower()
        or (action.endswith("*") and call.action.lower().startswith(action[:-1].lower()))
        for action in actions
    )
    return names(statement["Principal"], call.principal) and matches and all(met)


def decide(policy, call):
    """`allowed`, `denied`, or `silent`: nobody said anything, which KMS takes for a no."""
    effects = {"Allow": False, "Deny": False}
    for statement in policy["Statement"]:
        effects[statement["Effect"]] |= applies(statement, call)
    if effects["Deny"]:
        return "denied"
    return "allowed" if effects["Allow"] else "silent"
