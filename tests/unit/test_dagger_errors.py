"""What is said when Dagger could not do something, from the answers that an engine v0.21.7 has given."""

from __future__ import annotations

import json

import dagger
import pytest
from dagger._exceptions import QueryErrorValue
from gql import GraphQLRequest

from pipeline.engine.dagger import step as dagger_step
from pipeline.errors import EngineError, StepFailedError
from pipeline.model.image import Base, Image
from pipeline.model.step import Step
from pipeline.oci.reference import NoSuchImageError, Reference
from pipeline.run import dagger_images
from pipeline.stages.checkout import unusable

IMAGE = Image("image", Base("base", "sha256:base"))


def refused(message: str, code: int, stdout: str = "", stderr: str = "") -> dagger.ExecError:
    """Return the error of an execution, as the client makes it of an engine's answer."""
    extensions = {"_type": "EXEC_ERROR", "cmd": [], "exitCode": code, "stdout": stdout, "stderr": stderr}
    error = dagger.QueryError([QueryErrorValue(message, extensions=extensions)], GraphQLRequest("{ version }"))
    assert isinstance(error, dagger.ExecError)
    return error


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("security.insecure is not allowed [traceparent:1-2]", 'forbids insecure root capabilities at step "t"'),
        ("no space left on device", "no space left on device"),
    ],
)
def test_a_program_that_the_engine_did_not_start_has_not_failed(message: str, said: str) -> None:
    step = Step(title="t", image=IMAGE, argv=("x",))
    found = dagger_step.step_failure(step, refused(message, -1))
    assert isinstance(found, EngineError)
    assert said in str(found)


FAILED = 'failed to resolve image "NAME" (platform: "linux/amd64"): '


@pytest.mark.parametrize(
    ("name", "why", "absent"),
    [
        ("127.0.0.1:5577/library/python:nosuch", "127.0.0.1:5577/library/python:nosuch: not found", True),
        (
            f"docker.io/library/debian:x@sha256:{'a' * 64}",
            f"docker.io/library/debian:x@sha256:{'a' * 64}: not found",
            True,
        ),
        ("a.invalid/x:1", 'failed to do request: Head "https://a.invalid/v2/x/manifests/1": no such host', False),
        ("127.0.0.1:1/x:1", 'failed to do request: Head "http://127.0.0.1:1/v2/x": connect: connection refused', False),
        ("ghcr.io/x/y:1", "unexpected status from HEAD request to https://ghcr.io/v2/x/y: 403 Forbidden", False),
    ],
)
def test_only_an_answer_that_an_image_is_not_there_is_one(name: str, why: str, absent: bool) -> None:
    found = dagger_images.refused(Reference.parse(name), FAILED.replace("NAME", name) + why)
    assert isinstance(found, NoSuchImageError) is absent
    assert why in str(found)
    assert name in found.brief


def test_packages_that_cannot_be_added_name_the_image_and_what_the_manager_printed() -> None:
    base = Base("go", "sha256:1", reference="debian@sha256:1", manager="apt", packages=("gcc", "git"))
    found = dagger_images.not_added(
        base, refused("exit code: 100", 100, "Reading...", "E: Unable to locate package git")
    )
    assert found.brief == "apt could not add packages to the image go (gcc, git)"
    assert "Unable to locate package git" in found.details


def test_a_source_that_cannot_be_used_is_an_error_of_the_source() -> None:
    step = Step(title="read the source", image=IMAGE, argv=("x",))
    verdict = json.dumps({"problem": "exit", "code": 1})
    failure = dagger_step.step_failure(step, refused("exit code: 1", 1, "error: no go.mod\nerror: in 'x'", verdict))
    assert isinstance(failure, StepFailedError)
    assert str(unusable(step, failure)) == "no go.mod\nin 'x'\nWhat to do: correct it, or give another --source"
    assert unusable(Step(title="another", image=IMAGE, argv=("y",)), failure) is None
    crash = dagger_step.step_failure(step, refused("exit code: 1", 1, "Traceback", verdict))
    assert isinstance(crash, StepFailedError)
    assert unusable(step, crash) is None
