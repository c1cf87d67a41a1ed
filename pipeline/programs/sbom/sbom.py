"""Makes syft's SBOMs reproducible, says in them which artifact they are about, and validates them.

Params:
  cyclonedx, spdx  syft's documents: CycloneDX 1.6 JSON and SPDX 2.3 JSON (required)
  binary           the file they are about (required)
  name, version, supplier   the product's name, its version, and who supplies it (required)
  license          the product's own license, an SPDX expression (optional)
  licenses         `allow` and `deny`: license identifiers; `unknown`: `accept` (default) or `refuse` (optional)
  schemas          folder with the formats' own JSON schemas (default `/in/schemas`)
  out_cyclonedx, out_spdx   the files to write (required)
  out_notice       a list of all components with their licenses, for people (optional)

What varies goes: the serial number and the namespace are UUIDs of version 5 over the content (RFC 9562, section 5.5),
the time is SOURCE_DATE_EPOCH, everything is sorted, and paths lose the folder that the file was scanned in. The
artifact is the root component, with its package URL and SHA-256.

Errors: a document about another file, one that its schema refuses, and licenses that the policy refuses (all of them).
Needs the library jsonschema in its image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.programs import common
from pipeline.programs.common import Json, Params, Problem
from pipeline.programs.purl import purl
from pipeline.programs.sbom.canonical import CYCLONEDX_SCHEMA, SPDX_SCHEMA, canonical, content_uuid
from pipeline.programs.sbom.license_policy import UNRECOGNISED, notice, refusals
from pipeline.programs.schemas import validate


def without_folder(value: Any, folder: str) -> Any:
    """Return `value` with every text in it freed from the path `folder`."""
    if isinstance(value, str):
        return value.replace(folder.rstrip("/") + "/", "")
    if isinstance(value, list):
        return [without_folder(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: without_folder(item, folder) for key, item in value.items()}
    return value


def artifact_purl(params: Params, file: str, sha256: str) -> str:
    """Return the package URL of the artifact (purl specification, type `generic`)."""
    return purl("generic", params["name"], params["version"], checksum=f"sha256:{sha256}", file_name=file)


def normalise_cyclonedx(document: Json, params: Params, file: str, sha256: str, epoch: int) -> Json:
    """Return the CycloneDX document with the artifact as its root, and without anything that varies."""
    document = {key: value for key, value in document.items() if key != "serialNumber"}
    own = artifact_purl(params, file, sha256)
    root: Json = {
        "bom-ref": own,
        "type": "application",
        "name": params["name"],
        "version": params["version"],
        "supplier": {"name": params["supplier"]},
        "purl": own,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "properties": [{"name": "release-pipeline:file", "value": file}],
    }
    if params.get("license"):
        root["licenses"] = [{"expression": params["license"]}]
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

    A NOTICE file is no license: where syft took one for an unknown license, that entry goes.
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


def normalise_spdx(document: Json, params: Params, file: str, sha256: str, epoch: int) -> Json:
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
        name=params["name"],
        versionInfo=params["version"],
        packageFileName=file,
        supplier=f"Organization: {params['supplier']}",
        checksums=[{"algorithm": "SHA256", "checksumValue": sha256}],
        externalRefs=[reference],
        primaryPackagePurpose="APPLICATION",
        licenseDeclared=params.get("license") or "NOASSERTION",
    )
    tools = [creator for creator in document["creationInfo"].get("creators", []) if creator.startswith("Tool: ")]
    creation = {
        **document["creationInfo"],
        "created": common.timestamp(epoch),
        "creators": [f"Organization: {params['supplier']}", *sorted(tools)],
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


def main(params: Params) -> None:
    """Write both documents."""
    binary, folder = Path(params["binary"]), params.path("schemas", "/in/schemas")
    sha256, epoch = common.sha256_of(binary), common.source_date_epoch()
    cyclonedx = without_folder(common.read_object(Path(params["cyclonedx"])), str(binary.parent))
    spdx = without_folder(common.read_object(Path(params["spdx"])), str(binary.parent))
    check_subject(spdx, sha256)
    cyclonedx = normalise_cyclonedx(cyclonedx, params, binary.name, sha256, epoch)
    spdx = normalise_spdx(spdx, params, binary.name, sha256, epoch)
    validate(cyclonedx, folder, CYCLONEDX_SCHEMA)
    validate(spdx, folder, SPDX_SCHEMA)
    refused = list(refusals(cyclonedx["components"], params.get("licenses") or {}))
    if refused:
        raise Problem(*refused)
    common.write_json(Path(params["out_cyclonedx"]), cyclonedx)
    common.write_json(Path(params["out_spdx"]), spdx)
    if params.get("out_notice"):
        common.write_text(Path(params["out_notice"]), notice(params, cyclonedx["components"]))


if __name__ == "__main__":
    common.run_program(main)
