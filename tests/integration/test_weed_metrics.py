"""Prometheus' own tool reads the scrape file and the alerts, and running servers export what the alerts ask for."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require_tool
from tests.integration.weed_host import PRODUCT, Host, host, metrics_ports, ports_from

METRICS = PRODUCT / "metrics"
ROLES = ("master", "volume", "filer", "s3")
NOT_IN_THE_EXAMPLE = {"SeaweedFS_master_replica_placement_mismatch"}
"""The example product does not replicate volumes."""


def promtool(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [require_tool("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_reads_the_scrape_file(tmp_path: Path) -> None:
    """As the whole configuration, which is what promtool of any version can check."""
    text = (METRICS / "prometheus-scrape.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(f"rule_files: [alerts.yml]\n{text}")
    shutil.copy(METRICS / "prometheus-alerts.yml", tmp_path / "alerts.yml")
    assert "rules found" in promtool("check", "config", "prometheus.yml", folder=tmp_path)


def series(metric: str, role: str, values: str, /, **labels: str) -> dict[str, str]:
    """Return one series of a test of promtool, of instance 1 of `role`."""
    chosen = {"job": "weed", "instance": f"host:{ROLES.index(role) + 9324}", "role": role, "number": "1", **labels}
    labelled = ",".join(f'{key}="{value}"' for key, value in chosen.items())
    return {"series": f"{metric}{{{labelled}}}", "values": values}


def expect(folder: Path, alert: str, firing: bool, given: list[dict[str, str]]) -> None:
    """Let promtool say whether `alert` is firing after 25 minutes of the given series, one value a minute."""
    shutil.copy(METRICS / "prometheus-alerts.yml", folder / "alerts.yml")
    asked = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) > bool 0 or vector(0)'
    samples = [{"labels": "{}", "value": int(firing)}]
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [{"expr": asked, "eval_time": "25m", "exp_samples": samples}],
    }
    content = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(json.dumps(content))  # JSON is YAML
    promtool("test", "rules", "test.yml", folder=folder)


RESOURCE = "SeaweedFS_volumeServer_resource"
LEADER = "SeaweedFS_master_is_leader"
REQUESTS = "SeaweedFS_s3_request_total"
BAD: dict[str, list[dict[str, str]]] = {
    "WeedInstanceDown": [series("up", "filer", "0x30")],
    "WeedNoLeader": [series(LEADER, "master", "0x30"), series(LEADER, "master", "0x30", number="2", instance="h:2")],
    "WeedTwoLeaders": [series(LEADER, "master", "1x30"), series(LEADER, "master", "1x30", number="2", instance="h:2")],
    "WeedNoHeartbeats": [
        series("SeaweedFS_master_received_heartbeats", "master", "7x30", type="total"),
        series("up", "volume", "1x30"),
    ],
    "WeedVolumeDiskFillsUp": [
        series(RESOURCE, "volume", "8x30", name="/d", type="free"),
        series(RESOURCE, "volume", "100x30", name="/d", type="all"),
    ],
    "WeedVolumeDiskFull": [
        series(RESOURCE, "volume", "2x30", name="/d", type="free"),
        series(RESOURCE, "volume", "100x30", name="/d", type="all"),
    ],
    "WeedVolumesReadOnly": [
        series("SeaweedFS_volumeServer_read_only_volumes", "volume", "3x30", collection="", type="isDiskSpaceLow")
    ],
    "WeedVolumeDiskBroken": [
        series("SeaweedFS_volumeServer_disk_error_status", "volume", "1x30", name="/d", type="error")
    ],
    "WeedReplicasMissing": [
        series("SeaweedFS_master_replica_placement_mismatch", "master", "1x30", collection="", id="7")
    ],
    "WeedS3ServerErrors": [
        series(REQUESTS, "s3", "0+10x30", type="GET", code="500", bucket="b"),
        series(REQUESTS, "s3", "0+100x30", type="GET", code="200", bucket="b"),
    ],
    "WeedS3Refusals": [series(REQUESTS, "s3", "0+600x30", type="GET", code="403", bucket="")],
    "WeedFilerErrors": [series("SeaweedFS_filer_request_total", "filer", "0+120x30", type="GET", code="500")],
    "WeedFilesRunOut": [series("process_open_fds", "s3", "90x30"), series("process_max_fds", "s3", "100x30")],
    "WeedRestartsOften": [series("process_start_time_seconds", "s3", "0+60x30")],
    "WeedLeaderChangesOften": [series(LEADER, "master", "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1")],
    "WeedS3Slow": [
        series("SeaweedFS_s3_time_to_first_byte_millisecond_bucket", "s3", "0+9x30", le="100", type="GET", bucket="b"),
        series(
            "SeaweedFS_s3_time_to_first_byte_millisecond_bucket", "s3", "0+60x30", le="9000", type="GET", bucket="b"
        ),
        series(
            "SeaweedFS_s3_time_to_first_byte_millisecond_bucket", "s3", "0+60x30", le="+Inf", type="GET", bucket="b"
        ),
    ],
}
GOOD = [
    *(series("up", role, "1x30") for role in ROLES),
    *(series("process_start_time_seconds", role, "5x30") for role in ROLES),
    series(LEADER, "master", "1x30"),
    series(LEADER, "volume", "0x30"),  # every server exports every name
    series("SeaweedFS_master_received_heartbeats", "master", "0+12x30", type="total"),
    series(RESOURCE, "volume", "60x30", name="/d", type="free"),
    series(RESOURCE, "volume", "100x30", name="/d", type="all"),
    series(REQUESTS, "s3", "0+1000x30", type="GET", code="200", bucket="b"),
    series(REQUESTS, "s3", "0+60x30", type="GET", code="403", bucket=""),
    series("process_open_fds", "s3", "9x30"),
    series("process_max_fds", "s3", "100x30"),
]


def test_every_alert_is_tried() -> None:
    text = (METRICS / "prometheus-alerts.yml").read_text()
    assert set(re.findall(r"- alert: (\w+)", text)) == set(BAD)


@pytest.mark.parametrize("alert", sorted(BAD))
def test_an_alert_fires_when_something_is_wrong_and_not_otherwise(alert: str, tmp_path: Path) -> None:
    expect(tmp_path, alert, True, BAD[alert])
    expect(tmp_path, alert, False, GOOD)


@pytest.fixture(scope="module")
def served(weed: Path) -> Iterator[Host]:
    ones = {f"{role.upper()}_INSTANCES": "1" for role in ROLES}
    with host(weed, **ones) as made:
        made.configure(**ports_from(made.base), **metrics_ports(made), **ones)
        made.start()
        assert made.s3("PUT", "/bucket", port=made.settings.port("s3"))[0] == 200
        assert made.s3("PUT", "/bucket/key", b"x", port=made.settings.port("s3"))[0] == 200
        assert made.s3("GET", "/bucket/key", port=made.settings.port("s3"))[0] == 200
        yield made


def scraped(made: Host, role: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", made.settings.instances(role)[0].metrics, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_each_role_exports_what_its_alerts_ask_for(served: Host) -> None:
    text = (METRICS / "prometheus-alerts.yml").read_text()
    asked = set(re.findall(r'\b([a-zA-Z_]\w+)\{job="weed"(?:, role="(\w+)")?', text)) - {("up", "volume")}
    wanted = {(role, name) for name, given in asked for role in ([given] if given else ROLES) if name != "up"}
    exported = {role: scraped(served, role) for role in ROLES}
    missing = {(role, name) for role, name in wanted if not re.search(rf"^{name}(\{{| )", exported[role], re.MULTILINE)}
    assert {name for _, name in missing} == NOT_IN_THE_EXAMPLE
    assert len(wanted) > 12


def test_prometheus_finds_nothing_to_complain_about_in_what_they_export(served: Host, tmp_path: Path) -> None:
    for role in ROLES:
        done = subprocess.run(
            [require_tool("promtool"), "check", "metrics"],
            input=scraped(served, role),
            capture_output=True,
            text=True,
            check=False,
        )
        # The names are SeaweedFS' own, against the usage in their case; that the text is well-formed is what counts.
        assert "error while linting" not in done.stderr
        assert done.returncode in (0, 3), done.stderr
