"""Matches CloudTrail events with the patterns of metric filters, as far as the module's patterns go.

`(a = "x")`, `(a != "x")`, `(a NOT EXISTS)`, `&&`, `||`, parentheses, `*` in values. CloudWatch's documentation does not
settle whether `!=` holds where nothing is there: both are tried, and a pattern must not depend on it.

Invariant: anything else in a pattern is an error. Absent: patterns without braces, numbers, regular expressions.
"""

import fnmatch
import functools
import json
import re

TOKEN = re.compile(r'\s*(&&|\|\||[(){}]|!=|=|NOT EXISTS|"[^"]*"|\$[A-Za-z0-9_.\[\]]+)')


def tokens(pattern):
    found, at = [], 0
    while at < len(pattern):
        match = TOKEN.match(pattern, at)
        if match is None:
            raise ValueError(f"not known here: {pattern[at:]}")
        found.append(match[1])
        at = match.end()
    return found


def value(event, selector):
    here = event
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", selector):
        try:
            here = here[name or int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return here


def matches(pattern, event, differs_if_missing):
    rest = tokens(pattern)

    def take(*wanted):
        if rest[0] not in wanted:
            raise ValueError(f"{wanted}, not {rest[0]}")
        return rest.pop(0)

    def term():
        if rest[0] == "(":
            take("(")
            result = either()
            take(")")
            return result
        found = value(event, rest.pop(0))
        operator = take("=", "!=", "NOT EXISTS")
        if operator == "NOT EXISTS":
            return found is None
        wanted = rest.pop(0).strip('"')
        if found is None:
            return operator == "!=" and differs_if_missing
        return fnmatch.fnmatchcase(str(found), wanted) == (operator == "=")

    # Lists, not generators: each side must be read to its end.
    def both():
        results = [term()]
        while rest[0] == "&&":
            take("&&")
            results.append(term())
        return all(results)

    def either():
        results = [both()]
        while rest[0] == "||":
            take("||")
            results.append(both())
        return any(results)

    take("{")
    result = either()
    take("}")
    if rest:
        raise ValueError(f"after the end: {rest}")
    return result


# ---- Events, as CloudTrail writes them, cut to what matters.

KEY = "mrk-1234abcd12ab34cd56ef1234567890ab"
OTHER = KEY.replace("1234", "4321")


def arn(key=KEY, region="eu-central-1"):
    return f"arn:aws:kms:{region}:111122223333:key/{key}"


def event(name, who="ophie-api", keys=(KEY,), region="eu-central-1", **more):
    return {
        "eventSource": "kms.amazonaws.com",
        "eventName": name,
        "userIdentity": role(who),
        "resources": [{"type": "AWS::KMS::Key", "ARN": arn(key, region)} for key in keys],
    } | more


def role(name):
    issuer = {"type": "Role", "arn": f"arn:aws:iam::111122223333:role/{name}"}
    session = f"arn:aws:sts::111122223333:assumed-role/{name}/i-0123"
    return {"type": "AssumedRole", "arn": session, "sessionContext": {"sessionIssuer": issuer}}


def refused(code, name="Decrypt", who="stranger", key=KEY):
    """A call that was not let in has no resources, only a text."""
    text = f"User: {who} is not authorized to perform: kms:{name} on resource: {arn(key)} because no policy allows it"
    return event(name, who, (), errorCode=code, errorMessage=text) | {"resources": None, "requestParameters": None}


USER = {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/eve", "userName": "eve"}
TRAIL = {"eventSource": "cloudtrail.amazonaws.com", "userIdentity": role("deploy"), "resources": None}

EVENTS = (
    ("the application unwraps", event("Decrypt"), {"unwraps"}),
    ("its worker unwraps in a replica", event("Decrypt", "ophie-worker", region="eu-west-1"), {"unwraps"}),
    ("the auditor unwraps", event("Decrypt", "auditor"), {"unwraps"}),
    ("the application makes a key", event("GenerateDataKey"), set()),
    ("another role unwraps", event("Decrypt", "stranger"), {"strangers", "unwraps"}),
    ("another role unwraps in a replica", event("Decrypt", "stranger", region="eu-west-1"), {"strangers", "unwraps"}),
    ("a role that begins like the application's", event("Decrypt", "ophie-api-2"), {"strangers", "unwraps"}),
    ("break-glass unwraps", event("Decrypt", "ophie-break-glass"), {"strangers", "unwraps"}),
    ("a user unwraps", event("Decrypt", userIdentity=USER), {"strangers", "unwraps"}),
    ("a service unwraps", event("Decrypt", userIdentity={"type": "AWSService"}), {"strangers", "unwraps"}),
    ("another key's wrapped key is moved to this", event("ReEncrypt", "stranger", (OTHER, KEY)), {"strangers"}),
    ("a wrapped key is moved away", event("ReEncrypt", "stranger", (KEY, OTHER)), {"strangers"}),
    ("an expected role moves one", event("ReEncrypt", "auditor", (KEY, OTHER)), set()),
    ("another role unwraps with another key", event("Decrypt", "stranger", (OTHER,)), set()),
    ("a call is not let in", refused("AccessDenied"), {"refusals"}),
    ("a call is not let in, by its other name", refused("AccessDeniedException"), {"refusals"}),
    ("a call on another key is not let in", refused("AccessDenied", key=OTHER), set()),
    ("another context", event("Decrypt", errorCode="InvalidCiphertextException"), {"refusals"}),
    ("a blob of another key", event("Decrypt", errorCode="IncorrectKeyException"), {"refusals"}),
    ("too many calls", event("Decrypt", errorCode="ThrottlingException"), set()),
    ("the policy is replaced", event("PutKeyPolicy", "deploy"), {"changes"}),
    ("deletion is scheduled", event("ScheduleKeyDeletion", "deploy"), {"changes"}),
    (
        "deletion is scheduled, and only the request names the key",
        event("ScheduleKeyDeletion", "deploy", (), requestParameters={"keyId": arn()}),
        {"changes"},
    ),
    ("the key is switched off", event("DisableKey", "deploy"), {"changes"}),
    ("a grant is made", event("CreateGrant", "deploy"), {"changes"}),
    ("another key's policy is replaced", event("PutKeyPolicy", "deploy", (OTHER,)), set()),
    ("the key is described", event("DescribeKey", "deploy"), set()),
    ("a trail is stopped", TRAIL | {"eventName": "StopLogging"}, {"blindings"}),
    ("a trail is deleted", TRAIL | {"eventName": "DeleteTrail"}, {"blindings"}),
    ("a trail sees less", TRAIL | {"eventName": "PutEventSelectors"}, {"blindings"}),
    ("a trail is looked at", TRAIL | {"eventName": "DescribeTrails"}, set()),
)


def cases(folder):
    """One result for each event: a name, and what was wrong."""
    patterns = json.loads((folder / "patterns.json").read_text())
    for what, one, wanted in EVENTS:
        wrong = []
        for missing in (False, True):
            match = functools.partial(matches, event=one, differs_if_missing=missing)
            got = {name for name, pattern in patterns.items() if match(pattern)}
            if got != wanted:
                wrong.append(f"counted as {sorted(got)}, not {sorted(wanted)}")
        yield what, wrong
