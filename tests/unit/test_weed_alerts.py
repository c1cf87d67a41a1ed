"""Prometheus: every instance is scraped, and alerts ask for what SeaweedFS really exports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from weedops.settings import ROLES, check_settings

HERE = Path(__file__).resolve().parent
METRICS = HERE.parents[1] / "packaging/products/seaweedfs/metrics"
SINCE = {"SeaweedFS_volumeServer_disk_error_status": "From 4.32 on"}
"""Names that 3.68 lacks, and the comment that says so."""

ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
SCRAPED = {"job", "instance", "role", "number"}


def exported(release: str) -> dict[str, set[str]]:
    """Return the labels by name of what a release exports; a histogram has several names."""
    text = (HERE.parent / "data/seaweedfs-metrics.txt").read_text()
    section = text.partition(f"[{release}]\n")[2].partition("\n[")[0]
    found = {}
    for line in section.split("\n"):
        if line:
            name, kind, labels = line.split()
            for ending in ENDINGS[kind]:
                found[name + ending] = set(labels.split(",")) | ({"le"} if ending == "_bucket" else set())
    return found


def rules() -> list[str]:
    """Return the text of each alert, without comments."""
    text = (METRICS / "prometheus-alerts.yml").read_text()
    return [part.split("\n\n")[0] for part in text.split("- alert: ")[1:]]


def selectors(rule: str) -> list[tuple[str, set[str]]]:
    """Return each name that a rule selects, with the labels it picks by."""
    expression = rule.partition("expr:")[2].partition("\n        labels:")[0].partition("\n        for:")[0]
    found = re.findall(r"\b([A-Za-z_]\w+)\{([^}]*)\}", expression)
    return [(name, set(re.findall(r"(\w+)\s*=", labels))) for name, labels in found]


def test_every_instance_of_the_defaults_is_scraped() -> None:
    text = (METRICS / "prometheus-scrape.yml").read_text()
    found = re.findall(r'targets: \["([^"]+)"\]\n\s+labels: \{role: (\w+), number: "(\d+)"\}', text)
    wanted = [
        (f"127.0.0.1:{instance.metrics}", instance.role, str(instance.number))
        for role in ROLES
        for instance in check_settings({}, "defaults").instances(role)
    ]
    assert found == wanted
    assert text.count("targets:") == len(wanted)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.split("\n")[0])
@pytest.mark.parametrize("release", ["3.68", "4.44"])
def test_an_alert_asks_for_names_and_labels_that_the_release_exports(rule: str, release: str) -> None:
    known = exported(release)
    asked = selectors(rule)
    assert asked
    for name, labels in asked:
        if name.startswith("SeaweedFS_") and not (name in SINCE and release == "3.68"):
            assert labels - SCRAPED <= known[name], name
            assert "role" in labels, "every server exports every name: say whose is meant"


def test_names_of_later_releases_are_marked() -> None:
    text = (METRICS / "prometheus-alerts.yml").read_text()
    later = {name for rule in rules() for name, _ in selectors(rule) if name.startswith("Sea")} - set(exported("3.68"))
    assert later == set(SINCE)
    for name, comment in SINCE.items():
        assert comment in text[: text.index(name)].rpartition("- alert:")[0].rpartition("\n\n")[2]


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    found = rules()
    assert len(found) >= 12
    for rule in found:
        assert re.search(r"severity: (warning|critical)\}", rule), rule
        assert re.search(r'summary: ".{20,}"', rule), rule
        assert re.search(r'action: ".{15,}"', rule), rule
