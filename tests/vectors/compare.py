"""Answers what the reader of SPEC.md makes of bytes: a JSON object a line, one line back for each.

A case has the fields of a vector and `stored`. The answer has `plaintext` and `value`, in hexadecimal and in text, or as
`{"refused": reason}`; and `choice` where SPEC.md leaves to the reader what becomes of the value. A case with a `normaliser`
and a `text` is answered by its normal form, and by texts that must have the same one; by nothing if this Python's Unicode
tables are too old for it.

Invariant: it opens with `reader.py`, and nothing else. Absent: what the library makes of them (`tests/fuzz`).
"""

import json
import math
import re
import sys
import unicodedata

import reader


def values(case):
    stored = bytes.fromhex(case["stored"])
    try:
        if case["what"] == "sidecar":
            stored = reader.envelope_of(stored)
        plaintext = reader.open_value(case, stored)
    except reader.Rejected as rejected:
        refused = {"refused": str(rejected)}
        return {"plaintext": refused, "value": refused}
    answer = {"plaintext": plaintext.hex()}
    try:
        answer["value"] = reader.decode(case, plaintext)
    except reader.Rejected as rejected:
        answer["value"] = {"refused": str(rejected)}
    except RecursionError:
        answer["value"] = None
    if case["codec"] == "json":
        answer["choice"] = is_choice(plaintext, answer["value"])
    return answer


def is_choice(plaintext, value):
    """Depth, numbers beyond binary64, lone surrogates, names that stand twice."""
    text = plaintext.decode("utf-8", "replace")
    if value is None or re.search(r"\\u[dD][89a-fA-F]", text) or depth(text) > 127:
        return True
    twice = []

    def pairs(found):
        twice.extend(found if len(dict(found)) < len(found) else ())
        return dict(found)

    numbers = []
    number = lambda digits: numbers.append(float(digits)) or 0
    try:
        json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_int=number)
    except (ValueError, OverflowError):
        pass
    return bool(twice) or any(map(math.isinf, numbers))


def depth(text):
    return sum(text.count(bracket) for bracket in "[{")  # at most


def normal_forms(case):
    text, normaliser = case["text"], case["normaliser"]
    if not reader.is_assigned(text):
        return {}
    forms = {form: unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    if not set(unicodedata.normalize("NFKD", text)) & {"\u0345"}:
        forms |= {form: unicodedata.normalize(form, text) for form in ("NFKC", "NFKD")}
    return {"form": reader.normal_form(normaliser, text)} | forms


for line in sys.stdin:
    case = json.loads(line)
    print(json.dumps(normal_forms(case) if "normaliser" in case else values(case)), flush=True)
