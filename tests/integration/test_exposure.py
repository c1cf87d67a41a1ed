"""The judgement of units by systemd, as the step of a release: in the sandbox, in the packaging image."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.engine.local import LocalEngine
from pipeline.errors import StepFailedError
from pipeline.host.folders import home_folder
from pipeline.stages import exposure
from pipeline.stages.stage import Made
from tests.integration.packaged import catalog, context

UNIT = "systemd/weed-volume@.service"
ROLES = ("filer", "master", "s3", "volume")


@pytest.fixture(scope="module")
def judge() -> Callable[..., dict[str, Any]]:
    """Return what runs the step over the example's packages, with changed files, and returns what it wrote."""
    images = catalog()

    def run(**changes: tuple[str, str]) -> dict[str, Any]:
        paths = {UNIT if name == "unit" else name: change for name, change in changes.items()}
        (artifact,) = exposure.make(context("1.2.3", images, paths), Made()).artifacts
        assert artifact is not None

        async def work() -> dict[str, Any]:
            with LocalEngine(home_folder(None), roots=images.roots()) as engine:
                folder = await engine.evaluate(artifact.tree)
                found: dict[str, Any] = json.loads((folder / exposure.NAME).read_text())
                return found

        return anyio.run(work)

    return run


def refusal(judge: Callable[..., dict[str, Any]], **changes: tuple[str, str]) -> str:
    with pytest.raises(StepFailedError) as failed:
        judge(**changes)
    return "\n".join(failed.value.output)


def test_every_service_of_the_packages_is_within_the_limit(
    judge: Callable[..., dict[str, Any]], follows: Callable[[Path, str], None], tmp_path: Path
) -> None:
    found = judge()
    (tmp_path / "exposure.json").write_text(json.dumps(found))
    follows(tmp_path / "exposure.json", "exposure")
    assert [unit["unit"] for unit in found["units"]] == [f"weed-{role}@.service" for role in ROLES]
    for unit in found["units"]:
        assert unit["verdict"] == "accepted"
        assert 0.9 <= unit["exposure"] <= found["limit"] == 1.3
        assert len(unit["packages"]) == 6
        assert unit["exposed"][0]["directive"] == "PrivateNetwork="


def test_a_softer_service_closes_with_its_name_its_score_and_the_reason(judge: Callable[..., dict[str, Any]]) -> None:
    said = refusal(judge, unit=("CapabilityBoundingSet=\n", ""))
    assert "error: weed-volume@.service (ubuntu22.04-standard, ubuntu22.04-fips, ol8-standard" in said
    assert ", and 1.3 is allowed; worst:\n" in said
    assert "0.3 CapabilityBoundingSet=~CAP_SYS_PTRACE Service has ptrace() debugging abilities" in said
    assert "to do: " in said
    assert "weed-filer@.service" not in said


def test_a_service_that_starts_what_no_package_brings_closes(judge: Callable[..., dict[str, Any]]) -> None:
    said = refusal(judge, unit=("libexec/weed-launch volume", "libexec/weed-lunch volume"))
    assert "error: weed-volume@1.service: Command /opt/weed/libexec/weed-lunch is not executable" in said
    assert "(ubuntu22.04-standard, ubuntu22.04-fips, ol8-standard, ol8-fips, ol9-standard, ol9-fips)" in said


def test_what_systemd_does_not_understand_closes(judge: Callable[..., dict[str, Any]]) -> None:
    said = refusal(judge, unit=("RestrictRealtime=", "RestrictReeltime="))
    assert re.search(
        r"^error: /(usr/)?lib/systemd/system/weed-volume@\.service:\d+: Unknown key\b.*'RestrictReeltime'",
        said,
        re.MULTILINE,
    )
