"""The bill of materials of the published crates, as CycloneDX 1.6.

    python sbom.py FILE

Every package that is compiled for any of them, with all features and on any platform: name, version, licence, checksum and
what it depends on. Made at a release and published beside it; not kept in the repository, where it would only repeat
Cargo.lock. Needs `cyclonedx-python-lib[json-validation]`, which `tests/run supply` installs.

Invariant: what is written passes CycloneDX's own schema, strictly, and has a checksum for each package of a registry.
Absent: what only tests use.
"""

import pathlib
import subprocess
import sys
import tomllib

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAST = 100  # packages; fewer are not all


def tree():
    """Lines of `cargo tree` as (depth, name, version, licence), each package's dependencies below its first line."""
    shipped = [path.parent.name for path in sorted(ROOT.glob("ophie-crypt*/Cargo.toml"))]
    done = subprocess.run(
        ["cargo", "tree", "--locked", *(part for name in shipped for part in ("-p", name)), "--all-features"]
        + ["--target", "all", "-e", "normal,build", "--prefix", "depth", "--format", "\t{p}\t{l}\t"],
        cwd=ROOT, capture_output=True, text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    for line in filter(None, done.stdout.splitlines()):
        depth, package, licence, _ = line.split("\t")
        name, version = package.split()[:2]
        yield int(depth), name, version.removeprefix("v"), licence


def checksums():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}


def bill():
    known, needs, above, known_sums, licences = {}, {}, [], checksums(), LicenseFactory()
    for depth, name, version, licence in tree():
        key = name, version
        if key not in known:
            checksum = known_sums[key]
            known[key] = Component(
                name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"{name}@{version}",
                purl=PackageURL("cargo", None, name, version),
                # Written as `/` before Cargo knew SPDX.
                licenses=[licences.make_from_string(licence.replace("/", " OR ").replace("  ", " "))],
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
            )
            needs[key] = set()
        del above[depth:]
        if above:
            needs[above[-1]].add(key)
        above.append(key)

    own = {key: one for key, one in known.items() if key[0].startswith("ophie-crypt")}
    bom = Bom(components=[one for key, one in known.items() if key not in own])
    (version,) = {version for _, version in own}
    bom.metadata.component = Component(
        name="ophie-crypt", version=version, type=ComponentType.LIBRARY, bom_ref="workspace", components=own.values(),
        licenses=[licences.make_from_string("MIT OR Apache-2.0")],
    )
    bom.register_dependency(bom.metadata.component, own.values())
    for key, component in known.items():
        bom.register_dependency(component, [known[other] for other in needs[key]])
    return bom, [one for key, one in known.items() if key not in own], own


def main(file):
    bom, foreign, own = bill()
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    wrong = [str(error)[:500] for error in JsonStrictValidator(SchemaVersion.V1_6).validate_str(text, all_errors=True) or ()]
    wrong += [f"{one.bom_ref} has no checksum" for one in foreign if not one.hashes]
    wrong += [f"{one.bom_ref} has no licence" for one in foreign if not one.licenses]
    if len(foreign) < LEAST or len(own) < 6:
        wrong.append(f"only {len(foreign)} packages for {len(own)} crates")
    if wrong:
        sys.exit("\n".join(wrong))
    pathlib.Path(file).write_text(text + "\n")
    print(f"{len(foreign)} packages below {len(own)} crates in {file}")


if __name__ == "__main__":
    main(*sys.argv[1:])
