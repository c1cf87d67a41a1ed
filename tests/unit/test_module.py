"""What the Dagger module offers: its functions, their arguments and how they are cached. No engine is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import anyio
import dagger
import pytest

from pipeline.cli.parser import build_parser
from pipeline.dagger_module.pipeline import Pipeline
from pipeline.dagger_module.words import Fips
from pipeline.errors import SourceError, UsageError
from pipeline.programs.build.proof import FipsModule
from pipeline.run.dagger import dagger_backend
from pipeline.run.request import OPTIONS, VERBS, Request, options_of

PROJECT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("build", "graph", "images", "package", "plan", "release", "sbom", "scan", "sign", "verify")


def registered() -> dict[str, Any]:
    """Return the functions as Dagger's SDK has them. The one place that looks into it."""
    module = Pipeline.__dagger_module__  # type: ignore[attr-defined]
    functions = module.get_object("Pipeline").functions
    return {name: function for name, function in functions.items() if name}  # the one without a name makes the object


def constructor() -> dict[str, Any]:
    """Return the arguments of the module itself."""
    module = Pipeline.__dagger_module__  # type: ignore[attr-defined]
    return dict(module.get_object("Pipeline").get_constructor().parameters)


def test_how_the_engine_is_used_is_said_to_the_module_itself() -> None:
    assert sorted(constructor()) == ["go_proxy", "jobs", "locked", "source_date_epoch"]
    assert all(len(parameter.doc or "") > 10 for parameter in constructor().values())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"go_proxy": "https://ann:secret@goproxy.example.org,direct"}, "holds a password"),
        ({"source_date_epoch": "yesterday"}, "SOURCE_DATE_EPOCH is"),
        ({"jobs": -1}, "must be a positive integer, got -1"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], problem: str) -> None:
    with pytest.raises((UsageError, SourceError), match=problem) as caught:
        anyio.run(dagger_backend, cast(dagger.Client, None), Request(**given))
    assert "secret@" not in str(caught.value)


def test_the_functions() -> None:
    assert tuple(sorted(registered())) == FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_documented_with_all_its_arguments_and_never_cached(name: str) -> None:
    function = registered()[name]
    assert function.cache_policy == "never"
    assert len(function.doc or "") > 20
    for parameter in function.parameters.values():
        assert len(parameter.doc or "") > 10, parameter.name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_argument_has_one_default(name: str) -> None:
    """An engine refuses a module with an argument that has a default and a path to take another from."""
    parameters = registered()[name].parameters.values()
    assert [each.name for each in parameters if each.default_path and each.has_default] == []
    assert ("repository" in {each.name for each in parameters if each.default_path}) is (name in VERBS)


def test_the_words_are_those_of_the_command_line() -> None:
    verbs: Any = next(a for a in build_parser()._actions if a.dest == "verb").choices
    for name in ("release", "build", "sbom", "scan", "package", "plan", "graph"):
        asked = {each.argument: each for each in options_of(*VERBS[name]) if each.argument}
        parameters = registered()[name].parameters
        assert set(parameters) - set(asked) <= {"images", "drawing", "report_only"}
        assert {argument: parameters[argument].doc for argument in asked} == {
            argument: each.text for argument, each in asked.items()
        }
        helped = {action.dest: action.help for action in verbs[name]._actions}
        assert all((helped[each.name] or "").startswith(each.text) for each in asked.values() if each.flag)


def test_the_validated_modules_are_those_that_the_build_knows() -> None:
    assert OPTIONS["fips_module"].choices == tuple(module.value for module in FipsModule)
    assert [each.name.lower() for each in Fips] == list(OPTIONS["fips_module"].choices)
