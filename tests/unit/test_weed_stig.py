"""The doctor on rules of the STIG that bind the host, and the table of what the units' directives answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from weedops import doctor_stig
from weedops import findings as one
from weedops.paths import Paths
from weedops.settings import ROLES, check_settings

from tests.unit.test_weed_units import UNITS
from tests.unit.weed_host import PRODUCT

TABLE = (PRODUCT / "doc" / "compliance.md").read_text()


def host(root: Path, **files: str) -> one.Host:
    """Return a host without systemd, with `files` whose names have __ for /."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return one.Host(Paths(str(root)), "", check_settings({}, "weed.conf"), True, None, None)


def signatures(root: Path, text: str) -> one.Finding:
    made = host(root)
    (root / "etc/dnf").mkdir(parents=True)
    (root / "etc/dnf/dnf.conf").write_text(text)
    (found,) = doctor_stig.signatures(made)
    return found


@pytest.mark.parametrize("on", ["1", "True", "yes", "on"])
def test_a_host_that_checks_every_signature_is_fine(tmp_path: Path, on: str) -> None:
    found = signatures(tmp_path, f"[main]\ngpgcheck = {on}\n# a remark\nlocalpkg_gpgcheck={on}\n[other]\ngpgcheck=0\n")
    assert (found.severity, found.fix) == (one.OK, "")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("[main]\ngpgcheck=1\n", "localpkg_gpgcheck"),
        ("[main]\ngpgcheck=1\nlocalpkg_gpgcheck=0\n", "localpkg_gpgcheck"),
        ("[main]\ngpgcheck=1\n#localpkg_gpgcheck=1\n", "localpkg_gpgcheck"),
        ("[main]\ngpgcheck=1\nlocalpkg_gpgcheck=1\nlocalpkg_gpgcheck=no\n", "localpkg_gpgcheck"),
        ("[main]\ngpgcheck=1\n[ol9]\nlocalpkg_gpgcheck=1\n", "localpkg_gpgcheck"),
        ("[main]\nlocalpkg_gpgcheck=1\n", "gpgcheck"),
        ("[main]\n", "gpgcheck and localpkg_gpgcheck"),
    ],
)
def test_a_host_that_does_not_is_told_which_line_to_write(tmp_path: Path, text: str, missing: str) -> None:
    found = signatures(tmp_path, text)
    assert (found.id, found.severity) == ("package-signatures", one.NOTE)
    assert f": {missing} not set (STIG: " in found.what
    for key in missing.split(" and "):
        assert doctor_stig.CHECKED[key] in found.what
        assert f"{key}=1" in found.fix
    assert found.where == str(tmp_path / "etc/dnf/dnf.conf")


def test_a_host_without_dnf_is_not_asked(tmp_path: Path) -> None:
    assert list(doctor_stig.signatures(host(tmp_path))) == []


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "on"),
        ({"proc__sys__user__max_user_namespaces": "9000\n"}, "on"),
        ({"proc__sys__user__max_user_namespaces": "0\n"}, "off"),
        ({"proc__sys__kernel__unprivileged_userns_clone": "0\n"}, "for root only"),
        ({"proc__sys__kernel__unprivileged_userns_clone": "1\n"}, "on"),
    ],
)
def test_a_host_with_and_without_user_namespaces_is_fine(tmp_path: Path, files: dict[str, str], state: str) -> None:
    (found,) = doctor_stig.namespaces(host(tmp_path, **files))
    assert (found.id, found.severity) == ("user-namespaces", one.OK)
    assert found.what.startswith(f"user namespaces are {state}; no unit needs one")


def rows(header: str) -> list[list[str]]:
    """Return the rows of the table that has this header."""
    lines = TABLE.partition(f"| {header} |")[2].splitlines()[2:]
    table = lines[: next(number for number, line in enumerate([*lines, ""]) if not line.startswith("|"))]
    assert table, header
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def hardening() -> set[str]:
    """Return the directives of the units that are there for security."""
    text = (UNITS / f"weed-{ROLES[0]}@.service").read_text()
    part = text.partition("# Hardening")[2].partition("[Install]")[0]
    found = {line.partition("=")[0] for line in part.splitlines()[1:] if line}
    return found | {"User", "Group", "UMask", "LimitCORE"}


def test_every_directive_that_hardens_is_in_the_table_once_and_no_other() -> None:
    named = [name for row in rows("directive | rule of a STIG") for name in re.findall(r"`(\w+)=", row[0])]
    assert sorted(named) == sorted(hardening())


REQUIREMENTS = {
    "SRG-OS-000095-GPOS-00049": ("CCI-000381", "CM-7 a"),
    "SRG-OS-000138-GPOS-00069": ("CCI-001090", "SC-4"),
    "SRG-OS-000259-GPOS-00100": ("CCI-001499", "CM-5 (6)"),
    "SRG-OS-000324-GPOS-00125": ("CCI-002235", "AC-6 (10)"),
    "SRG-OS-000433-GPOS-00192": ("CCI-002824", "SI-16"),
    "SRG-OS-000480-GPOS-00227": ("CCI-000366", "CM-6 b"),
    "SRG-OS-000480-GPOS-00228": ("CCI-000366", "CM-6 b"),
}
"""The general requirements for operating systems that are named, with CCI and the control of NIST SP 800-53."""
RULES = {
    "OL08-00-010375": "SRG-OS-000138-GPOS-00069",
    "OL08-00-010420": "SRG-OS-000433-GPOS-00192",
    "OL08-00-010673": "SRG-OS-000480-GPOS-00227",
    "OL08-00-020353": "SRG-OS-000480-GPOS-00228",
    "OL08-00-040284": "SRG-OS-000480-GPOS-00227",
    "OL09-00-002370": "SRG-OS-000480-GPOS-00227",
    "RHEL-09-213105": "SRG-OS-000480-GPOS-00227",
}
"""The rules that the table names, with the requirement that each belongs to."""


@pytest.mark.parametrize("row", rows("directive | rule of a STIG"), ids=lambda row: row[0].split("=")[0].strip("`"))
def test_rules_and_requirements_of_a_directive_fit_each_other(row: list[str]) -> None:
    _, rule, requirement, control, aim = row
    assert aim
    ids = re.findall(r"\b(?:OL\d\d|RHEL)-\d\d-\d{6}\b", rule)
    assert ids or rule == "none"
    srg = re.findall(r"SRG-OS-\d{6}-GPOS-\d{5}", requirement)
    assert {RULES[found] for found in ids} <= set(srg)
    if srg:
        assert (requirement, control) == (f"{srg[0]}, {REQUIREMENTS[srg[0]][0]}", REQUIREMENTS[srg[0]][1])
    else:
        assert (requirement, control) in {("none", "AC-6"), ("none", "SC-39")}


def test_every_finding_that_the_table_of_rules_names_is_one_of_the_doctor() -> None:
    source = "".join(path.read_text() for path in (PRODUCT / "scripts" / "weedops").glob("doctor_*.py"))
    for rule, _, findings in rows("rule | what it requires of the host"):
        assert re.match(r"OL08-00-\d{6}", rule)
        for name in re.findall(r"`([\w-]+)`", findings):
            assert f'"{name}"' in source, name
