"""What each feature of each published crate pulls in, held to features.txt beside this file.

    python3 features.py          compares; a difference is a failure
    python3 features.py write    writes features.txt anew, for you to read
    python3 features.py compile  compiles each crate with no feature, each alone and all; takes minutes

Invariant: a dependency that a feature newly brings stands in a diff. Versions do not: Cargo.lock has them.
Absent: licences, sources and advisories (cargo-deny, deny.toml).
"""

import concurrent.futures
import difflib
import json
import pathlib
import subprocess
import sys
import textwrap

LIST = pathlib.Path(__file__).with_name("features.txt")
ROOT = LIST.parents[2]
PLATFORM = "x86_64-unknown-linux-gnu"  # the same list wherever it is made


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"cargo {' '.join(arguments)}:\n{done.stderr}")
    return done.stdout


def published():
    """Crates that are published, each with its features but for private ones, by name."""
    packages = json.loads(cargo("metadata", "--no-deps", "--format-version", "1"))["packages"]
    shipped = [package for package in packages if package["publish"] is None]
    return {
        package["name"]: sorted(name for name in package["features"] if name != "default" and name[0] != "_")
        for package in sorted(shipped, key=lambda package: package["name"])
    }


def tree(crate, choice):
    """Names of all packages that are compiled for it, build scripts and macros too."""
    lines = cargo(
        "tree", "-p", crate, *choice, "-e", "normal,build", "--prefix", "none", "--format", "{p}", "--target", PLATFORM
    ).splitlines()
    return {line.split()[0] for line in lines if line} - {crate}


def none_or(feature):
    return ["--no-default-features", *(["--features", feature] if feature else [])]


def listed(crates):
    choices = [(crate, feature) for crate, features in crates.items() for feature in (None, *features)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        trees = dict(zip(choices, pool.map(lambda choice: tree(choice[0], none_or(choice[1])), choices)))
    for crate, feature in choices:
        if feature is None:
            yield from section(f"{crate}, no feature", trees[crate, None])
        else:
            yield from section(f"{crate}, {feature} adds", trees[crate, feature] - trees[crate, None])


def section(title, names):
    yield f"{title}: {len(names)}"
    yield from textwrap.wrap(" ".join(sorted(names)), 110, break_on_hyphens=False, initial_indent="    ",
                             subsequent_indent="    ")


def compile_each(crates):
    failed = []
    for crate, features in crates.items():
        for choice in [none_or(None), *(none_or(feature) for feature in features), ["--all-features"]]:
            command = ["cargo", "clippy", "--locked", "-q", "-p", crate, "--lib", *choice, "--", "-D", "warnings"]
            print(">", *command, flush=True)
            if subprocess.run(command, cwd=ROOT).returncode:
                failed.append(" ".join(command))
    print(*(f"FAILED {command}" for command in failed), sep="\n")
    return failed


def main(action):
    crates = published()
    if action == "compile":
        sys.exit(bool(compile_each(crates)))
    now = [line + "\n" for line in listed(crates)]
    if action == "write":
        LIST.write_text("".join(now))
    before = LIST.read_text().splitlines(keepends=True)
    print(*difflib.unified_diff(before, now, "features.txt", "now"), sep="", end="")
    if now != before:
        sys.exit("what features pull in is different; if it has to be, run python3 tests/supply/features.py write")
    print(f"{sum(1 + len(features) for features in crates.values())} sets of features")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "compare")
