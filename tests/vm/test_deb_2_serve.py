"""S3 through HAProxy: what clients see while servers are killed, hang and are restarted, and after a reboot."""

from __future__ import annotations

import json

import pytest

from tests.vm.host import (
    BUCKET,
    LARGE,
    PROXY,
    aws,
    healthy,
    large_is_whole,
    load,
    pid,
    running_versions,
    status_of,
    upload_large,
)
from tests.vm.machine import Machine
from tests.waiting import shell_pause

pytestmark = pytest.mark.heavy

FAST = "[Service]\nWatchdogSec=15\nTimeoutAbortSec=25\n"
"""Instead of the units' 60 and 40 seconds, so that a test need not wait for two minutes."""


def test_what_an_aws_client_does_works_through_haproxy(serving: Machine) -> None:
    serving.run("echo hello > /tmp/small")
    upload_large(serving)
    made, _, listed, _, head, _, deleted, buckets = aws(
        serving,
        "s3 mb s3://another",
        f"s3 cp /tmp/small s3://{BUCKET}/folder/small",
        f"s3api list-objects-v2 --bucket {BUCKET} --output json",
        f"s3 cp s3://{BUCKET}/folder/small /tmp/small.back",
        f"s3api head-object --bucket {BUCKET} --key large --output json",
        "s3 rb s3://another",
        f"s3 rm s3://{BUCKET}/folder/small",
        "s3api list-buckets --output json",
    )
    assert "make_bucket: another" in made
    sizes = {entry["Key"]: entry["Size"] for entry in json.loads(listed)["Contents"]}
    assert sizes == {"folder/small": 6, "large": LARGE}
    serving.run("cmp /tmp/small /tmp/small.back")
    assert json.loads(head)["ETag"].strip('"').endswith("-3"), "put together from three parts"
    assert "delete:" in deleted
    assert {bucket["Name"] for bucket in json.loads(buckets)["Buckets"]} == {BUCKET}


def test_a_request_without_a_good_signature_is_refused(serving: Machine) -> None:
    assert status_of(serving, f"{PROXY}/{BUCKET}/large") == 403
    wrong = "--aws-sigv4 aws:amz:us-east-1:s3 --user test-access-key:wrong"
    assert status_of(serving, f"{PROXY}/{BUCKET}/large", wrong) == 403


def test_a_killed_s3_server_costs_no_request_and_comes_back(serving: Machine) -> None:
    killed = pid(serving, "s3-1")
    with load(serving, least=50):
        serving.run(f"{shell_pause(2, 'requests run by then')}; kill -KILL {killed}")
        serving.wait(f"systemctl --quiet is-active weed-s3@1 && ! test -e /proc/{killed}", timeout=180)
    assert pid(serving, "s3-1") != killed
    healthy(serving)


def test_the_watchdog_restarts_a_server_that_hangs(serving: Machine) -> None:
    """SIGSTOP: the process is there and its port is open, and only an answer that does not come tells."""
    serving.write("/run/systemd/system/weed-s3@2.service.d/fast.conf", FAST)
    serving.run("systemctl daemon-reload; systemctl restart weed-s3@2", timeout=300)
    healthy(serving)
    hung = pid(serving, "s3-2")
    serving.run(f"kill -STOP {hung}")
    serving.wait(f"! test -e /proc/{hung} && systemctl --quiet is-active weed-s3@2", timeout=240)
    assert "Watchdog timeout" in serving.run("journalctl --no-pager -o cat -b UNIT=weed-s3@2.service").stdout
    assert "goroutine" in serving.run("cat /var/log/weed/s3-2.log").stdout, "what it was doing is in its log"
    serving.run("rm -r /run/systemd/system/weed-s3@2.service.d; systemctl daemon-reload; systemctl restart weed-s3@2")
    healthy(serving)


def test_a_rolling_restart_under_load_loses_no_request(serving: Machine) -> None:
    before = serving.run("systemctl show --value --property MainPID 'weed-*@*.service'").text.split()
    with load(serving, least=100):
        done = serving.run("weed-rolling-restart", timeout=1200)
    assert done.stdout.endswith("all restarted and healthy\n")
    after = serving.run("systemctl show --value --property MainPID 'weed-*@*.service'").text.split()
    assert len(before) == len(after) == 8
    assert not set(before) & set(after)
    assert running_versions(serving) == {"current"}


def test_a_reboot_brings_everything_back_with_its_data(serving: Machine) -> None:
    serving.reboot()
    healthy(serving)
    large_is_whole(serving)
    with load(serving, least=5):
        pass
    assert serving.run("systemctl --failed --plain --no-legend").text == ""
