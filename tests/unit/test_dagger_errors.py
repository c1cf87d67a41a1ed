"""What is said when Dagger could not do something, from the answers that an engine v0.21.7 has given."""

from __future__ import annotations

import json

import dagger
import pytest
from dagger._exceptions import QueryErrorValue
from gql import GraphQLRequest

from pipeline.engine import dagger_step
from pipeline.errors import EngineError, StepFailedError
from pipeline.model.image import Base, Image
from pipeline.model.step import Step
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
