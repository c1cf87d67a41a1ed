"""Makes syft's SBOMs reproducible, says in them which artifact they are about, and validates them.

What varies goes: the serial number and the namespace are UUIDs of version 5 over the content (RFC 9562, section 5.5),
the time is SOURCE_DATE_EPOCH, everything is sorted, and paths lose the folder that the file was scanned in. The
artifact is the root component, with its package URL and SHA-256.

Errors: a document about another file, one that its schema refuses, and licenses that the policy refuses (all of them).
Needs the libraries jsonschema and license_expression in its image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote

from pipeline.programs import common
from pipeline.programs.common import Json, Problem
from pipeline.programs.purl import purl
from pipeline.programs.sbom.canonical import CYCLONEDX_SCHEMA, SPDX_SCHEMA, canonical, content_uuid
from pipeline.programs.sbom.license_policy import UNRECOGNISED, LicensePolicy, notice, refusals
from pipeline.programs.schemas import validate
from pipeline.programs.start import run_program


@dataclass(frozen=True)
class Parameters:
    """What the SBOMs are about, syft's documents about it, and the files to write."""

    cyclonedx: Path
    """CycloneDX 1.6 JSON."""
    spdx: Path
    """SPDX 2.3 JSON."""
    binary: Path
    """The file that they are about."""
    name: str
    """The product's name."""
    version: str
    supplier: str
    out_cyclonedx: Path
    out_spdx: Path
    out_notice: Optional[Path] = None
    """A list of all components with their licenses, for people."""
    license: str = ""
    """The product's own license, an SPDX expression; empty: not stated."""
    licenses: LicensePolicy = field(default_factory=LicensePolicy)
    schemas: Path = Path("/in/schemas")
    """The folder with the formats' own JSON schemas."""


def without_folder(value: Any, folder: str) -> Any:
    """Return `value` with every text in it freed from the path `folder`."""
    if isinstance(value, str):
        return value.replace(folder.rstrip("/") + "/", "")
    if isinstance(value, list):
        return [without_folder(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: without_folder(item, folder) for key, item in value.items()}
    return value


def artifact_purl(params: Parameters, file: str, sha256: str) -> str:
    """Return the package URL of the artifact (purl specification, type `generic`)."""
    return purl("generic", params.name, params.version, checksum=f"sha256:{sha256}", file_name=file)


def normalise_cyclonedx(document: Json, params: Parameters, file: str, sha256: str, epoch: int) -> Json:
    """Return the CycloneDX document with the artifact as its root, and without anything that varies."""
    document = {key: value for key, value in document.items() if key != "serialNumber"}
    own = artifact_purl(params, file, sha256)
    root: Json = {
        "bom-ref": own,
        "type": "application",
        "name": params.name,
        "version": params.version,
        "supplier": {"name": params.supplier},
        "purl": own,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "properties": [{"name": "release-pipeline:file", "value": file}],
    }
    if params.license:
        root["licenses"] = [{"expression": params.license}]
    metadata = dict(document.get("metadata") or {})
    metadata.update(timestamp=common.timestamp(epoch), component=root)
    components = [_component(component) for component in document.get("components") or []]
    edges = {entry["ref"]: sorted(entry.get("dependsOn") or []) for entry in document.get("dependencies") or []}
    used = {target for targets in edges.values() for target in targets}
    edges[own] = sorted({component["bom-ref"] for component in components} - used)
    document.update(
        metadata=metadata,
        components=sorted(components, key=lambda component: (component["bom-ref"], canonical(component))),
        dependencies=[{"ref": ref, "dependsOn": targets} for ref, targets in sorted(edges.items())],
    )
    return {**document, "serialNumber": f"urn:uuid:{content_uuid(document)}"}


def _component(component: Json) -> Json:
    result = {k: sorted(v, key=canonical) if k in {"properties", "hashes"} else v for k, v in component.items()}
    if "licenses" in result:
        result["licenses"] = licenses(result["licenses"])
    if "bom-ref" not in result:
        result["bom-ref"] = f"component-{content_uuid(result)}"
    return result


def licenses(entries: list[Json]) -> list[Json]:
    """Return the licenses of a component once each, without the files that syft read them from.

    A NOTICE file is not a license: if syft took one for an unknown license, that entry goes.
    """
    kept: dict[str, Json] = {}
    for entry in entries:
        license_ = dict(entry.get("license") or {})
        local = str(license_.get("url", "")).startswith("file:")
        file = str(license_.pop("url")).rpartition("/")[2] if local else ""
        if str(license_.get("name", "")).startswith(UNRECOGNISED) and file.upper().startswith("NOTICE"):
            continue
        cleaned = {**entry, "license": license_} if license_ else entry
        kept[canonical(cleaned)] = cleaned
    return [kept[key] for key in sorted(kept)]


def normalise_spdx(document: Json, params: Parameters, file: str, sha256: str, epoch: int) -> Json:
    """Return the SPDX document with the artifact as the package it describes, and without anything that varies."""
    document = {key: value for key, value in document.items() if key != "documentNamespace"}
    described = {
        relation["relatedSpdxElement"]
        for relation in document.get("relationships") or []
        if relation["relationshipType"] == "DESCRIBES"
    }
    packages = sorted(map(_ordered, document.get("packages") or []), key=lambda package: str(package["SPDXID"]))
    roots = [package for package in packages if package["SPDXID"] in described]
    if len(roots) != 1:
        raise Problem(f"the SPDX document describes {len(roots)} packages, not one")
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": artifact_purl(params, file, sha256),
    }
    roots[0].update(
        name=params.name,
        versionInfo=params.version,
        packageFileName=file,
        supplier=f"Organization: {params.supplier}",
        checksums=[{"algorithm": "SHA256", "checksumValue": sha256}],
        externalRefs=[reference],
        primaryPackagePurpose="APPLICATION",
        licenseDeclared=params.license or "NOASSERTION",
    )
    tools = [creator for creator in document["creationInfo"].get("creators", []) if creator.startswith("Tool: ")]
    creation = {
        **document["creationInfo"],
        "created": common.timestamp(epoch),
        "creators": [f"Organization: {params.supplier}", *sorted(tools)],
    }
    document.update(name=file, creationInfo=creation, packages=packages)
    for other in document.get("hasExtractedLicensingInfos") or []:
        remote = sorted(url for url in other.pop("seeAlsos", []) if not url.startswith("file:"))
        other.update({"seeAlsos": remote} if remote else {})
    for key in ("files", "relationships", "hasExtractedLicensingInfos"):
        document[key] = sorted(map(_ordered, document.get(key) or []), key=canonical)
    namespace = f"https://spdx.org/spdxdocs/{quote(file, safe='')}-{content_uuid(document)}"
    return {**document, "documentNamespace": namespace}


def _ordered(element: Json) -> Json:
    return {key: sorted(value, key=canonical) if isinstance(value, list) else value for key, value in element.items()}


def check_subject(spdx: Json, sha256: str) -> None:
    """Raise Problem when syft looked at another file."""
    seen = {
        checksum["checksumValue"]
        for entry in (spdx.get("packages") or []) + (spdx.get("files") or [])
        for checksum in entry.get("checksums") or []
    }
    if sha256 not in seen:
        raise Problem(f"the SPDX document is not about the file with SHA-256 {sha256}")


def main(params: Parameters) -> None:
    """Write both documents."""
    binary, folder = params.binary, params.schemas
    sha256, epoch = common.sha256_of(binary), common.source_date_epoch()
    cyclonedx = without_folder(common.read_object(params.cyclonedx), str(binary.parent))
    spdx = without_folder(common.read_object(params.spdx), str(binary.parent))
    check_subject(spdx, sha256)
    cyclonedx = normalise_cyclonedx(cyclonedx, params, binary.name, sha256, epoch)
    spdx = normalise_spdx(spdx, params, binary.name, sha256, epoch)
    validate(cyclonedx, folder, CYCLONEDX_SCHEMA)
    validate(spdx, folder, SPDX_SCHEMA)
    refused = list(refusals(cyclonedx["components"], params.licenses))
    if refused:
        raise Problem(*refused)
    common.write_json(params.out_cyclonedx, cyclonedx)
    common.write_json(params.out_spdx, spdx)
    if params.out_notice:
        product = f"{params.name} {params.version}{f' ({params.license})' if params.license else ''}"
        common.write_text(params.out_notice, notice(product, cyclonedx["components"]))


if __name__ == "__main__":
    run_program(main, Parameters)
