"""The FIPS probe: what a module says of itself is believed only where it fits together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.programs.build import fips_probe
from pipeline.programs.build.fips_probe import ModuleAnswer
from pipeline.programs.build.proof import Algorithm, FipsModule
from pipeline.programs.common import Problem

NATIVE = ModuleAnswer(
    boringcrypto=False, enabled=True, enforced=False, version="v1.0.0",
    approved={"SHA-256": "", "Ed25519": ""}, other={"MD5": "", "RC4": ""},
)  # fmt: skip
ONLY = replace(NATIVE, enforced=True, other={"MD5": "crypto/md5: not allowed", "RC4": "no"})
BORING = replace(NATIVE, boringcrypto=True, enabled=False, version="latest")
GO, BORINGCRYPTO = FipsModule.GO, FipsModule.BORINGCRYPTO


def test_go_s_own_module_does_what_is_approved_and_refuses_the_rest() -> None:
    assert fips_probe.verdicts(GO, NATIVE, ONLY) == {
        "SHA-256": Algorithm(True, ""),
        "Ed25519": Algorithm(True, ""),
        "MD5": Algorithm(False, "fips140=only: crypto/md5: not allowed"),
        "RC4": Algorithm(False, "fips140=only: no"),
    }


def test_what_go_adds_to_boringcrypto_is_not_the_module_s_and_nothing_is_refused() -> None:
    assert fips_probe.verdicts(BORINGCRYPTO, BORING, None) == {
        "SHA-256": Algorithm(True, ""),
        "Ed25519": Algorithm(False, ""),
        "MD5": Algorithm(False, ""),
        "RC4": Algorithm(False, ""),
    }


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("other", {"MD5": "", "RC4": "no"}, "refuses too little: MD5"),
        ("enforced", False, "refuses too little: nothing is enforced"),
        ("approved", {"SHA-256": "", "Ed25519": "broken"}, "Ed25519 is approved and does not work: broken"),
    ],
)
def test_a_mode_that_does_not_keep_its_promise_is_an_error(key: str, value: Any, said: str) -> None:
    strict = replace(ONLY, **{key: value})
    with pytest.raises(Problem, match=said):
        fips_probe.verdicts(GO, NATIVE, strict)


@pytest.mark.parametrize(
    ("module", "found", "said"),
    [
        (GO, replace(NATIVE, enabled=False), "enabled is False"),
        (GO, replace(NATIVE, version="latest"), "version is 'latest', not 'v1.0.0'"),
        (BORINGCRYPTO, NATIVE, "does not have the module boringcrypto"),
    ],
)
def test_another_module_than_the_one_asked_for_is_an_error(module: FipsModule, found: ModuleAnswer, said: str) -> None:
    with pytest.raises(Problem, match=said):
        fips_probe.check_module(found, module, "v1.0.0")
    fips_probe.check_module(NATIVE, GO, "v1.0.0")
    fips_probe.check_module(BORING, BORINGCRYPTO, "v1.0.0")
