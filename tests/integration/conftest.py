"""The server of the example's release, and what checks a document against a schema of the project."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stamina

from tests.conftest import lacking
from tests.integration.released import PROJECT

SCHEMAS = PROJECT / "packaging" / "schemas" / "release-pipeline"
VALIDATE = """\
import json, jsonschema, sys
schema, document = (json.load(open(path)) for path in sys.argv[1:])
jsonschema.Draft7Validator.check_schema(schema)
jsonschema.Draft7Validator(schema).validate(document)
"""


@pytest.fixture
def hasty() -> Iterator[None]:
    """Whatever is tried again is tried again at once, and three times at most."""
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture(scope="session")
def weed(request: pytest.FixtureRequest) -> Path:
    """The server of the example's release for this machine, or the one that $WEED_BINARY names."""
    given = os.environ.get("WEED_BINARY")
    if given:
        return Path(given).resolve()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    dist: Path = request.getfixturevalue("dist")
    return dist / f"example-1.2.3-linux-{machine}"


@pytest.fixture(scope="session")
def python() -> str:
    """A Python that has jsonschema, as the step's image has: this one or the system's."""
    if importlib.util.find_spec("jsonschema"):
        return sys.executable
    system = shutil.which("python3", path="/usr/bin") or sys.executable
    if subprocess.run([system, "-c", "import jsonschema"], capture_output=True, check=False).returncode == 0:
        return system
    return lacking("no Python here has jsonschema (Debian: python3-jsonschema)")


@pytest.fixture(scope="session")
def follows(python: str) -> Callable[[Path, str], None]:
    """Return what checks that a document follows one of the project's own schemas, named without its ending."""

    def check(document: Path, schema: str) -> None:
        argv = [python, "-W", "ignore", "-c", VALIDATE, str(SCHEMAS / f"{schema}.schema.json"), str(document)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{schema}: {done.stderr[-500:]}"

    return check
