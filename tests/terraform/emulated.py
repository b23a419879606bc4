"""Applies the module to emulators of AWS: everything is made, found again, changed in place, and destroyed only on purpose.

Invariant: what was made is read from the emulator, not from Terraform's state. Absent: what AWS would refuse.
"""

import json
import os
import re

import stand_in

POLICIES = "modules/policy/tests"


class Run:
    """A root module on an emulator."""

    def __init__(self, terraform, folder, endpoint, region):
        os.environ["AWS_ENDPOINT_URL"] = endpoint  # for `aws`
        self.terraform, self.folder, self.endpoint, self.region = terraform, folder, endpoint, region
        self.account = self.aws("sts").get_caller_identity()["Account"]

    def __call__(self, *arguments):
        variables = {"TF_VAR_account_id": self.account, "TF_VAR_mail": "alarms@example.com"}
        return self.terraform(self.folder, *arguments, AWS_ENDPOINT_URL=self.endpoint, **variables)

    def aws(self, service, region=None):
        return stand_in.client(service, region or self.region)

    def expect(self, what, wanted_code, wanted_text, *arguments):
        code, output = self(*arguments)
        good = code == wanted_code and re.search(wanted_text, output)
        return what, [] if good else [f"exit code {code}, not {wanted_code}, or not /{wanted_text}/:\n{output}"]

    def no_changes(self, what):
        return self.expect(what, 0, r"No changes\.", "plan", "-detailed-exitcode")

    def output(self, name):
        return json.loads(self("output", "-json", name)[1].split("\n\n")[-1])


def equal(what, got, wanted):
    return what, [] if got == wanted else [f"{got}\nnot\n{wanted}"]


def complete(terraform, module, override):
    run = Run(terraform, module / "examples/complete", os.environ["OPHIE_CRYPT_TEST_MINISTACK"], "eu-central-1")
    yield run.expect("modules are found", 0, "", "get")
    yield run.expect("its types are those of the schema", 0, "configuration is valid", "validate")
    yield run.expect("everything is made", 0, r"26 added, 0 changed, 0 destroyed", "apply", "-auto-approve")
    yield run.no_changes("a second plan is clean")

    kms, arn = run.aws("kms"), run.output("key_arn")
    wanted = (module / POLICIES / "complete.json").read_text().replace("111122223333", run.account)

    def policy(client, key=arn):
        return json.loads(client.get_key_policy(KeyId=key, PolicyName="default")["Policy"])

    yield equal("the key has the golden policy", policy(kms), json.loads(wanted))
    rotation = kms.get_key_rotation_status(KeyId=arn)
    yield equal("it rotates", (rotation["KeyRotationEnabled"], rotation["RotationPeriodInDays"]), (True, 365))
    replica = run.output("replica_key_arns")["eu-west-1"]
    yield equal("so has its replica", policy(run.aws("kms", "eu-west-1"), replica), json.loads(wanted))
    role = run.aws("iam").get_role(RoleName="ophie-break-glass")["Role"]["AssumeRolePolicyDocument"]
    trust = (module / POLICIES / "break_glass_trust.json").read_text().replace("111122223333", run.account)
    yield equal("break-glass trusts the golden ones", json.loads(role) if isinstance(role, str) else role, json.loads(trust))

    logs, alarms = run.aws("logs"), run.aws("cloudwatch")
    filters = logs.describe_metric_filters(logGroupName="/aws/cloudtrail/ophie-kms")["metricFilters"]
    counted = {one["metricTransformations"][0]["metricName"]: one["filterPattern"] for one in filters}
    golden = json.loads((module / "modules/watch/tests/patterns.json").read_text())
    yield equal("every pattern counts", sorted(counted), sorted(golden))
    heard = {one["MetricName"] for one in alarms.describe_alarms()["MetricAlarms"] if one.get("MetricName")}
    yield equal("and has an alarm", sorted(heard), sorted(golden))
    id_ = arn.rpartition("/")[2]
    yield equal("the patterns name the key", [name for name in golden if name != "blindings" and id_ not in counted[name]], [])

    # What somebody changed by hand is seen, and put back.
    widened = policy(kms)
    widened["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"})
    kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(widened))
    yield run.expect("a policy changed by hand is seen", 2, r"0 to add, 1 to change, 0 to destroy", "plan", "-detailed-exitcode")
    yield run.expect("and put back", 0, r"0 added, 1 changed, 0 destroyed", "apply", "-auto-approve")
    yield equal("to the golden one", policy(kms), json.loads(wanted))

    # Roles and limits change in place: the key stays.
    example = run.folder / "main.tf"
    example.write_text(example.read_text().replace("role}/auditor\"]", "role}/auditor\", \"${local.role}/second-auditor\"]"))
    changes = r"0 added, 3 changed, 0 destroyed"  # both keys, and the pattern of strangers
    yield run.expect("another auditor", 0, changes, "apply", "-auto-approve")
    yield equal("is in the policy of the same key", "second-auditor" in json.dumps(policy(kms)), True)

    yield run.expect("the key is not destroyed by mistake", 1, "prevent_destroy", "destroy", "-auto-approve")
    yield equal("it is still there", kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"], "Enabled")
    (module / "main_override.tf").write_text(override)
    yield run.expect("it is destroyed on purpose", 0, r"26 destroyed", "destroy", "-auto-approve")
    yield equal("and can be brought back", kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"], "PendingDeletion")
    left = [one["TrailARN"] for one in run.aws("cloudtrail").describe_trails()["trailList"]]
    left += [one["AlarmName"] for one in alarms.describe_alarms()["MetricAlarms"]]
    yield equal("nothing is left", left, [])


def least(terraform, folder, override):
    run = Run(terraform, folder / "least", os.environ["OPHIE_CRYPT_TEST_MOTO"], "eu-west-1")
    yield run.expect("modules are found", 0, "", "get")
    yield run.expect("everything is made", 0, r"14 added, 0 changed, 0 destroyed", "apply", "-auto-approve")
    yield run.no_changes("a second plan is clean")
    arn = run.output("key_arn")
    got = run.aws("kms").get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
    wanted = (folder / "aws-kms" / POLICIES / "least.json").read_text().replace("111122223333", run.account)
    yield equal("the key has the golden policy", json.loads(got), json.loads(wanted))
    (folder / "aws-kms/main_override.tf").write_text(override)
    yield run.expect("it is destroyed on purpose", 0, r"14 destroyed", "destroy", "-auto-approve")
