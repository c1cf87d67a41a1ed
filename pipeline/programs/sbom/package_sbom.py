"""Makes the SBOMs of a package: its files, the binary among them, and what that is made of.

The package is the root component, with the package URL that its distribution knows it by. What it needs on the host
where it is installed is not part of it, and stands in properties (CycloneDX) and in the root's comment (SPDX).

Errors: a binary that is not in the package, and a document that its schema refuses.
Needs the library jsonschema in its image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from pipeline.programs import common
from pipeline.programs.common import Json, Problem
from pipeline.programs.document import load
from pipeline.programs.package.package_documents import Contents, Entry
from pipeline.programs.sbom.canonical import CYCLONEDX_SCHEMA, SPDX_SCHEMA, canonical, content_uuid
from pipeline.programs.schemas import validate
from pipeline.programs.start import run_program

ROOT, DOCUMENT = "SPDXRef-DocumentRoot-Package", "SPDXRef-DOCUMENT"
NOTHING = "NOASSERTION"


@dataclass(frozen=True)
class Parameters:
    """What the SBOMs are about, and the files to write: CycloneDX 1.6 JSON and SPDX 2.3 JSON."""

    file: str
    """The package's name."""
    supplier: str
    license: str
    """Of the package, an SPDX expression."""
    out_cyclonedx: Path
    out_spdx: Path
    cyclonedx: Optional[Path] = None
    """The SBOM of the binary in it, as `sbom.py` made it; None for a package without one."""
    spdx: Optional[Path] = None
    """The same in the other format."""
    contents: Path = Path("/in/contents/contents.json")
    """What `contents.py` found in it."""
    schemas: Path = Path("/in/schemas")
    """The folder with the formats' own JSON schemas."""


def sha256_in(hashes: list[Json], name: str, value: str) -> str:
    """Return the SHA-256 among the hashes of an element, whose keys are called `name` and `value`."""
    return next((str(each[value]) for each in hashes if str(each[name]).replace("-", "") == "SHA256"), "")


def place_of(sha256: str, contents: Contents) -> str:
    """Return where the binary is in the package. Raises Problem if it is missing."""
    for path, entry in contents.regular.items():
        if entry.sha256 == sha256:
            return path
    raise Problem(f"no file of {contents.name} is the binary with SHA-256 {sha256}, which it is made from")


def cyclonedx(params: Parameters, contents: Contents, binary: Json) -> Json:
    """Return the CycloneDX document of the package; `binary` is that of its binary, or empty."""
    inner = dict((binary.get("metadata") or {}).get("component") or {})
    place = place_of(sha256_in(inner["hashes"], "alg", "content"), contents) if inner else ""
    requires = [{"name": "release-pipeline:requires", "value": need} for need in contents.requires]
    root: Json = {
        "bom-ref": contents.purl,
        "type": "application",
        "name": contents.name,
        "version": contents.version,
        "supplier": {"name": params.supplier},
        "purl": contents.purl,
        "licenses": [{"expression": params.license}],
        "properties": [{"name": "release-pipeline:file", "value": params.file}, *requires],
    }
    if contents.sha256:
        root["hashes"] = [{"alg": "SHA-256", "content": contents.sha256}]
    files = [
        {
            "bom-ref": f"file:{quote(path)}",
            "type": "file",
            "name": path,
            "hashes": [{"alg": "SHA-1", "content": entry.sha1}, {"alg": "SHA-256", "content": entry.sha256}],
        }
        for path, entry in contents.regular.items()
        if path != place
    ]
    parts = [*files]
    for component in binary.get("components") or []:
        same = component["type"] == "file" and sha256_in(component.get("hashes") or [], "alg", "content")
        parts.append({**component, "name": place} if same else component)
    parts += [inner] if inner else []
    edges = {contents.purl: [entry["bom-ref"] for entry in files] + ([inner["bom-ref"]] if inner else [])}
    edges.update({entry["ref"]: entry.get("dependsOn") or [] for entry in binary.get("dependencies") or []})
    document: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            **(binary.get("metadata") or {}),
            "timestamp": common.timestamp(common.source_date_epoch()),
            "component": root,
        },
        "components": sorted(parts, key=lambda component: (component["bom-ref"], canonical(component))),
        "dependencies": [{"ref": ref, "dependsOn": sorted(targets)} for ref, targets in sorted(edges.items())],
    }
    return {**document, "serialNumber": f"urn:uuid:{content_uuid(document)}"}


def spdx_root(params: Parameters, contents: Contents) -> Json:
    """Return the SPDX element of the package itself."""
    root: Json = {
        "SPDXID": ROOT,
        "name": contents.name,
        "versionInfo": contents.version,
        "packageFileName": params.file,
        "supplier": f"Organization: {params.supplier}",
        "downloadLocation": NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": NOTHING,
        "licenseDeclared": params.license,
        "copyrightText": NOTHING,
        "primaryPackagePurpose": "INSTALL",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": contents.purl,
            }
        ],
    }
    if contents.requires:
        root["comment"] = "needs on its host: " + "; ".join(contents.requires)
    if contents.sha256:
        root["checksums"] = [{"algorithm": "SHA256", "checksumValue": contents.sha256}]
    return root


def spdx_file(path: str, entry: Entry) -> Json:
    """Return the SPDX element of one file (SPDX 2.3, section 8)."""
    return {
        "SPDXID": f"SPDXRef-File-{hashlib.sha256(path.encode()).hexdigest()[:16]}",
        "fileName": f".{path}",
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": entry.sha1},
            {"algorithm": "SHA256", "checksumValue": entry.sha256},
        ],
        "licenseConcluded": NOTHING,
        "licenseInfoInFiles": [NOTHING],
        "copyrightText": NOTHING,
    }


def spdx(params: Parameters, contents: Contents, binary: Json) -> Json:
    """Return the SPDX document of the package; `binary` is that of its binary, or empty."""
    relations = [relation for relation in binary.get("relationships") or [] if relation["spdxElementId"] != DOCUMENT]
    described = [
        str(relation["relatedSpdxElement"])
        for relation in binary.get("relationships") or []
        if relation["relationshipType"] == "DESCRIBES"
    ]
    files, inner = [], ""
    for element in binary.get("files") or []:
        inner = place_of(sha256_in(element["checksums"], "algorithm", "checksumValue"), contents)
        files.append({**element, "fileName": f".{inner}"})
    files += [spdx_file(path, entry) for path, entry in contents.regular.items() if path != inner]
    contained = [*described, *(element["SPDXID"] for element in files)]
    relations += [
        {"spdxElementId": ROOT, "relationshipType": "CONTAINS", "relatedSpdxElement": element} for element in contained
    ]
    relations.append({"spdxElementId": DOCUMENT, "relationshipType": "DESCRIBES", "relatedSpdxElement": ROOT})
    creation = binary.get("creationInfo") or {"creators": [f"Organization: {params.supplier}"]}
    document: Json = {
        "SPDXID": DOCUMENT,
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": params.file,
        "creationInfo": {**creation, "created": common.timestamp(common.source_date_epoch())},
        "packages": sorted([spdx_root(params, contents), *(binary.get("packages") or [])], key=canonical),
        "files": sorted(files, key=canonical),
        "relationships": sorted(relations, key=canonical),
    }
    if binary.get("hasExtractedLicensingInfos"):
        document["hasExtractedLicensingInfos"] = binary["hasExtractedLicensingInfos"]
    namespace = f"https://spdx.org/spdxdocs/{quote(params.file, safe='')}-{content_uuid(document)}"
    return {**document, "documentNamespace": namespace}


def main(params: Parameters) -> None:
    """Write both documents."""
    contents = load(Contents, params.contents)
    for make, given, schema, out in (
        (cyclonedx, params.cyclonedx, CYCLONEDX_SCHEMA, params.out_cyclonedx),
        (spdx, params.spdx, SPDX_SCHEMA, params.out_spdx),
    ):
        document = make(params, contents, common.read_object(given) if given else {})
        validate(document, params.schemas, schema)
        common.write_json(out, document)


if __name__ == "__main__":
    run_program(main, Parameters)
