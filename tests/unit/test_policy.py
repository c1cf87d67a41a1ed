"""Policies: what closes the gate, what is accepted, and until when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config.policy import Policy, Severity, load_policy, parse_policy
from pipeline.errors import ConfigError

PRODUCTS = Path(__file__).parents[2] / "packaging" / "products"
ENTRY = """
[[ignore]]
id = "CVE-2024-1234"
package = "golang.org/x/net"
reason = "not called"
owner = "security@example.org"
expires = 2026-12-31
variants = ["standard"]
targets = ["linux/amd64"]
justification = "vulnerable_code_not_in_execute_path"
"""
OTHER = """
[[ignore]]
id = "GO-2024-0001"
package = "stdlib"
reason = "only on Windows"
owner = "security@example.org"
expires = 2027-06-30
"""


def policy(text: str = "") -> Policy:
    return parse_policy(text, where="policy.toml")


def test_the_policies_of_this_project_are_valid() -> None:
    for path in PRODUCTS.glob("*/policy.toml"):
        assert load_policy(path) == load_policy(path.parent)


def test_without_a_word_critical_and_high_close_the_gate() -> None:
    empty = policy()
    assert empty.gate.severities == (Severity.CRITICAL, Severity.HIGH)
    assert not empty.gate.only_fixable
    assert empty.database_max_age_days.grype == empty.database_max_age_days.trivy == 5
    assert empty.ignore == ()


def test_a_program_gets_plain_values() -> None:
    values = json.loads(json.dumps(policy(ENTRY).as_parameters()))
    assert values["gate"] == {"severities": ["critical", "high"], "only_fixable": False, "unreachable": "refuse"}
    assert values["database_max_age_days"] == {"grype": 5, "trivy": 5, "govulncheck": 30}
    assert values["ignore"][0]["expires"] == "2026-12-31"
    assert values["ignore"][0]["targets"] == ["linux/amd64"]


WRONG = [
    ('[gate]\nseverities = ["high"]', '"critical" cannot be left out'),
    (
        '[gate]\nseverities = ["critical", "hihg"]',
        "gate.severities[1]: 'hihg' is not one of the values; did you mean `high`?",
    ),
    ("[gate]\nonly_fixed = true", "gate.only_fixed: unknown key; did you mean `only_fixable`?"),
    (
        "[database_max_age_days]\ngrype = 0",
        "line 2: database_max_age_days.grype: input should be greater than or equal to 1",
    ),
    ("[database_max_age_days]\nclair = 1", "database_max_age_days.clair: unknown key. Allowed: grype, trivy"),
    ('[licenses]\nallow = ["MIT"]\ndeny = ["MIT"]', "MIT is both allowed and denied"),
    (ENTRY.replace("owner", "owenr"), "line 6: ignore[0].owenr: unknown key; did you mean `owner`?"),
    (ENTRY.replace('reason = "not called"\n', ""), "line 2: ignore[0].reason: required, but missing"),
    (ENTRY.replace('"not called"', '""'), "ignore[0].reason:"),
    (ENTRY.replace("2026-12-31", '"soon"'), "ignore[0].expires: input should be a valid date"),
    (ENTRY.replace("2026-12-31", "20261231"), "ignore[0].expires:"),
    (ENTRY.replace("CVE-2024-1234", "the usual"), "ignore[0].id: 'the usual' does not match"),
    (ENTRY.replace("linux/amd64", "linux/arm"), "ignore[0].targets: 'linux/arm' is not a target. Allowed:"),
    (ENTRY.replace("_not_in_execute_path", "_not_in_path"), "did you mean `vulnerable_code_not_"),
    (ENTRY + ENTRY, "CVE-2024-1234 in golang.org/x/net is listed twice"),
    ("[ignore]\nid = 1", "ignore: input should be a valid array"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_mistake_is_pointed_at(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(text)
    assert said in str(caught.value)


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_policy(tmp_path / "policy.toml")
