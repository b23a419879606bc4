"""What each principal may do by the golden policies, and that nothing else is allowed.

Every principal tries every operation of KMS under every context here: what is not in the table must be refused. Absent:
how a policy is read (`policy`), that the golden policies are those of the module (`terraform test`).
"""

import itertools
import json

from policy import Call, decide

ACCOUNT = "111122223333"
OWNER = {"app": "ophie", "generation": "1", "owner": "74616461"}
AUDIT = {"app": "ophie", "purpose": "audit", "writer": "ab" * 16}
ROLES = {
    name: f"arn:aws:iam::{ACCOUNT}:role/{name}"
    for name in ("ophie-api", "ophie-worker", "auditor", "ophie-migrator", "ophie-break-glass", "deploy", "stranger")
}
PRINCIPALS = ROLES | {
    "root user": f"arn:aws:iam::{ACCOUNT}:root",
    "user": f"arn:aws:iam::{ACCOUNT}:user/ada",
    "namesake elsewhere": "arn:aws:iam::444455556666:role/ophie-api",
    "root user elsewhere": "arn:aws:iam::444455556666:root",
}
MANAGES = """
    CancelKeyDeletion CreateAlias DeleteAlias DescribeKey DisableKey DisableKeyRotation EnableKey EnableKeyRotation
    GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListKeyRotations ListResourceTags PutKeyPolicy ReplicateKey
    RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion TagResource UntagResource UpdateAlias UpdateKeyDescription
    UpdatePrimaryRegion
""".split()
USES = """
    CreateGrant Decrypt DeleteImportedKeyMaterial DeriveSharedSecret Encrypt GenerateDataKey GenerateDataKeyPair
    GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GetParametersForImport GetPublicKey
    ImportKeyMaterial ListRetirableGrants ReEncryptFrom ReEncryptTo RetireGrant Sign SynchronizeMultiRegionKey Verify VerifyMac
""".split()
DENIED = {"CreateGrant", "Encrypt"}


def contexts():
    """Those of the library, and all that differ from one of them in one thing."""
    for name, whole in {"owner": OWNER, "audit": AUDIT}.items():
        yield name, whole
        for key in whole:
            yield f"{name} without {key}", {k: v for k, v in whole.items() if k != key}
            yield f"{name} with {key.upper()}", {(k.upper() if k == key else k): v for k, v in whole.items()}
        yield f"{name} and more", whole | {"more": "1"}
        yield f"{name} of another app", whole | {"app": "other"}
        yield f"{name} of an app in capitals", whole | {"app": "Ophie"}
        yield f"{name} of no app", whole | {"app": ""}
    yield "audit for another purpose", AUDIT | {"purpose": "owner"}
    yield "both", OWNER | AUDIT
    yield "app alone", {"app": "ophie"}
    yield "none", {}


def may(policy, name, action, context, same_key):
    """The table."""
    if name in ("ophie-api",) or (name == "ophie-worker" and policy == "complete"):
        return (action, context) in {("GenerateDataKey", "owner"), ("Decrypt", "owner"), ("GenerateDataKey", "audit")}
    if name == "auditor":
        return policy == "complete" and (action, context) == ("Decrypt", "audit")
    if name == "ophie-break-glass":
        return policy == "complete" and (action, context) == ("Decrypt", "owner")
    if name == "ophie-migrator":
        moves = action in ("ReEncryptFrom", "ReEncryptTo") and context == "owner"
        return moves and (policy == "moving" or (policy == "complete" and same_key))
    if name == "deploy":
        return action in MANAGES
    if name == "root user":
        return action in ("DescribeKey", "GetKeyPolicy", "PutKeyPolicy")
    return False


def cases(folder):
    """One result for each policy and principal: a name, and what was wrong."""
    for policy in ("least", "complete", "moving"):
        document = json.loads((folder / f"{policy}.json").read_text())
        allows = document | {"Statement": [one for one in document["Statement"] if one["Effect"] == "Allow"]}
        for name, principal in PRINCIPALS.items():
            wrong = []
            calls = 0
            for action, same_key, (context, pairs) in itertools.product(MANAGES + USES, (True, False), contexts()):
                keys = {"aws:PrincipalType": "Account" if "root user" in name else "AssumedRole"}
                if action.startswith("ReEncrypt"):
                    keys["kms:ReEncryptOnSameKey"] = str(same_key).lower()
                elif not same_key:
                    continue
                call = Call(principal, f"kms:{action}", tuple(pairs.items()), tuple(keys.items()))
                allowed = may(policy, name, action, context, same_key)
                wanted = "denied" if action in DENIED else "allowed" if allowed else "silent"
                # Nor does any statement lean on the denial.
                for what, asked, want in (
                    ("", document, wanted),
                    (" but for denials", allows, "allowed" if allowed else "silent"),
                ):
                    calls += 1
                    if (got := decide(asked, call)) != want:
                        wrong.append(f"{action} under {context}, same key {same_key}{what}: {got}, not {want}")
            assert calls > 2000, calls
            yield f"{policy}: {name}", wrong


def trust_cases(folder):
    """Who may assume the break-glass role."""
    trust = json.loads((folder / "break_glass_trust.json").read_text())
    ada, eve = f"arn:aws:iam::{ACCOUNT}:user/ada", f"arn:aws:iam::{ACCOUNT}:user/eve"
    fresh = (("aws:MultiFactorAuthPresent", "true"), ("aws:MultiFactorAuthAge", "60"))
    for what, principal, keys, want in (
        ("with MFA", ada, fresh, "allowed"),
        ("with a key and no session", ada, (), "silent"),
        ("without MFA", ada, (("aws:MultiFactorAuthPresent", "false"),), "silent"),
        ("without MFA but with an age", ada, (("aws:MultiFactorAuthPresent", "false"), fresh[1]), "silent"),
        ("with MFA of long ago", ada, (fresh[0], ("aws:MultiFactorAuthAge", "3600")), "silent"),
        ("with MFA of unknown age", ada, fresh[:1], "silent"),
        ("by another user", eve, fresh, "silent"),
        ("by the application", ROLES["ophie-api"], fresh, "silent"),
        ("by the root user", PRINCIPALS["root user"], fresh, "silent"),
    ):
        got = decide(trust, Call(principal, "sts:AssumeRole", (), keys))
        yield f"break glass {what}", [] if got == want else [f"{got}, not {want}"]
