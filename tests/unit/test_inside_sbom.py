"""SBOMs: what varies is gone, the artifact is the root, and licenses are judged. The documents are syft's own."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs.common import Problem
from pipeline.programs.sbom import license_policy, sbom
from pipeline.programs.sbom.canonical import canonical
from pipeline.programs.sbom.license_policy import LicensePolicy

DATA = Path(__file__).parent.parent / "data" / "inside"
FILE, SHA256 = "weed-1.2.3-linux-amd64", "d235c091fb56516e857aa6f482c63ea0aa72f0f9984bd5b231d6de5e80df00f9"
EPOCH = 1717992646
PARAMS = sbom.Parameters(
    cyclonedx=Path(), spdx=Path(), binary=Path(), out_cyclonedx=Path(), out_spdx=Path(),
    name="weed", version="1.2.3", supplier="Example", license="Apache-2.0",
)  # fmt: skip


def document(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / f"syft-{kind}.json").read_text("utf-8"))
    return content


@pytest.fixture
def cyclonedx() -> dict[str, Any]:
    return sbom.normalise_cyclonedx(document("cdx"), PARAMS, FILE, SHA256, EPOCH)


@pytest.fixture
def spdx() -> dict[str, Any]:
    return sbom.normalise_spdx(document("spdx"), PARAMS, FILE, SHA256, EPOCH)


def shuffled(value: Any) -> Any:
    """The same document as another run of syft might write it: lists reversed, where their order means nothing."""
    ordered = {"creators"}
    if isinstance(value, dict):
        return {k: v if k in ordered else shuffled(v) for k, v in reversed(list(value.items()))}
    return [shuffled(item) for item in reversed(value)] if isinstance(value, list) else value


def test_two_runs_of_syft_give_one_document(cyclonedx: dict[str, Any], spdx: dict[str, Any]) -> None:
    other = shuffled(document("cdx"))
    other["serialNumber"] = f"urn:uuid:{uuid.uuid4()}"
    other["metadata"]["timestamp"] = "2030-01-01T00:00:00Z"
    again = sbom.normalise_cyclonedx(other, PARAMS, FILE, SHA256, EPOCH)
    assert canonical(again) == canonical(cyclonedx)
    other = shuffled(document("spdx"))
    other["documentNamespace"] = f"https://anchore.com/syft/file/x-{uuid.uuid4()}"
    other["creationInfo"]["created"] = "2030-01-01T00:00:00Z"
    again = sbom.normalise_spdx(other, PARAMS, FILE, SHA256, EPOCH)
    assert {k for k in spdx if canonical(spdx[k]) != canonical(again[k])} == set()


def test_other_content_gets_another_identity(cyclonedx: dict[str, Any]) -> None:
    changed = document("cdx")
    changed["components"][0]["version"] = "v9"
    again = sbom.normalise_cyclonedx(changed, PARAMS, FILE, SHA256, EPOCH)
    assert again["serialNumber"] != cyclonedx["serialNumber"]
    assert uuid.UUID(cyclonedx["serialNumber"].removeprefix("urn:uuid:")).version == 5


def test_the_artifact_is_the_root(cyclonedx: dict[str, Any], spdx: dict[str, Any]) -> None:
    purl = f"pkg:generic/weed@1.2.3?checksum=sha256:{SHA256}&file_name={FILE}"
    root = cyclonedx["metadata"]["component"]
    assert (root["name"], root["version"], root["purl"]) == ("weed", "1.2.3", purl)
    assert root["supplier"] == {"name": "Example"}
    assert root["hashes"] == [{"alg": "SHA-256", "content": SHA256}]
    assert cyclonedx["metadata"]["timestamp"] == spdx["creationInfo"]["created"] == "2024-06-10T04:10:46Z"
    edges = {entry["ref"]: entry["dependsOn"] for entry in cyclonedx["dependencies"]}
    assert any("example.org/weed" in ref for ref in edges[purl])
    described = [r["relatedSpdxElement"] for r in spdx["relationships"] if r["relationshipType"] == "DESCRIBES"]
    package = next(package for package in spdx["packages"] if package["SPDXID"] == described[0])
    assert (package["name"], package["versionInfo"], package["packageFileName"]) == ("weed", "1.2.3", FILE)
    assert package["externalRefs"][0]["referenceLocator"] == purl
    assert package["checksums"] == [{"algorithm": "SHA256", "checksumValue": SHA256}]
    assert spdx["creationInfo"]["creators"][0] == "Organization: Example"
    assert [c for c in spdx["creationInfo"]["creators"] if c.startswith("Tool: syft-")]


def test_no_path_of_the_machine_remains(cyclonedx: dict[str, Any], spdx: dict[str, Any]) -> None:
    for raw, done in ((document("cdx"), cyclonedx), (document("spdx"), spdx)):
        assert "file://" in canonical(raw)
        assert "file://" not in canonical(done)
        assert "/in/binary" not in canonical(sbom.without_folder(done, "/in/binary"))


def test_a_document_about_another_file_is_refused() -> None:
    sbom.check_subject(document("spdx"), SHA256)
    with pytest.raises(Problem, match="not about the file"):
        sbom.check_subject(document("spdx"), "0" * 64)


def test_a_document_that_describes_nothing_is_refused() -> None:
    empty = document("spdx")
    empty["relationships"] = []
    with pytest.raises(Problem, match="describes 0 packages"):
        sbom.normalise_spdx(empty, PARAMS, FILE, SHA256, EPOCH)


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("mit", False),
        ("(GPL-3.0-only OR MIT) AND BSD-3-Clause", True),
        ("GPL-3.0-only OR MIT AND BSD-3-Clause", True),
        ("MIT AND (GPL-3.0-only)", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("LGPL-2.1-only WITH Classpath-exception-2.0", False),
        ("A license in words", True),
        ("MIT AND", False),
        ("(MIT", False),
        ("", False),
    ],
)
def test_license_expressions(expression: str, accepted: bool) -> None:
    known = {"MIT", "BSD-3-Clause", "GPL-2.0-only WITH Classpath-exception-2.0", "A license in words"}
    assert license_policy.satisfied(expression, known.__contains__) is accepted


def component(name: str, *licenses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "v1", "type": "library", "licenses": list(licenses), **more}


COMPONENTS = [
    component("good", {"license": {"id": "MIT"}}, {"license": {"id": "Apache-2.0"}}),
    component("bad", {"license": {"id": "MIT"}}, {"license": {"id": "AGPL-3.0-only"}}),
    component("choice", {"expression": "MIT OR AGPL-3.0-only"}),
    component("silent"),
    component("strange", {"license": {"id": "MIT"}}, {"license": {"name": "sha256:0123"}}),
    component("/in/binary/x", type="file"),
    component("own", properties=[{"name": "syft:metadata:mainModule", "value": "own"}]),
]


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        (LicensePolicy(), []),
        (LicensePolicy(deny=("AGPL-3.0-only",)), ["bad"]),
        (LicensePolicy(deny=("AGPL-3.0-only",), unknown="refuse"), ["bad", "silent", "strange"]),
        (LicensePolicy(allow=("MIT",)), ["good", "bad"]),
        (LicensePolicy(allow=("MIT", "Apache-2.0", "AGPL-3.0-only"), unknown="accept"), []),
    ],
)
def test_the_license_policy(policy: LicensePolicy, refused: list[str]) -> None:
    assert [text.split(" ")[0] for text in license_policy.refusals(COMPONENTS, policy)] == refused


def test_notice_files_are_no_licenses() -> None:
    entries: list[dict[str, Any]] = [
        {"license": {"id": "Apache-2.0", "url": "file://$GOPATH/pkg/mod/a/LICENSE"}},
        {"license": {"id": "Apache-2.0", "url": "file://$GOPATH/pkg/mod/a/NOTICE"}},
        {"license": {"name": "sha256:1", "url": "file://$GOPATH/pkg/mod/a/NOTICE.txt"}},
        {"license": {"name": "sha256:2", "url": "file://$GOPATH/pkg/mod/a/COPYING"}},
        {"license": {"id": "MIT", "url": "https://example.test/license"}},
        {"expression": "MIT OR ISC"},
    ]
    kept = sbom.licenses(copy.deepcopy(entries))
    assert {canonical(entry) for entry in kept} == {
        canonical({"license": {"id": "Apache-2.0"}}),
        canonical({"license": {"name": "sha256:2"}}),
        canonical(entries[4]),
        canonical(entries[5]),
    }


def test_the_notice_names_every_dependency(cyclonedx: dict[str, Any]) -> None:
    text = license_policy.notice("weed 1.2.3 (Apache-2.0)", cyclonedx["components"])
    assert text.startswith("weed 1.2.3 (Apache-2.0) contains:\n\n")
    assert "github.com/google/uuid v1.6.0: BSD-3-Clause\n" in text
    assert "example.org/weed" not in text
    assert text.splitlines()[2:] == sorted(text.splitlines()[2:])
