"""What follows from a request, on either face: the values of its release, its parts, its verdict."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.policy import Policy
from pipeline.config.product import Product
from pipeline.config.toolchain import Toolchain
from pipeline.errors import GateClosedError, UsageError, VerificationError
from pipeline.host.documents import read_document
from pipeline.model.image import Image
from pipeline.model.source import Source, check_go
from pipeline.model.tree import Files, Given
from pipeline.model.version import Version, parse_tag
from pipeline.programs.build.proof import FipsModule
from pipeline.programs.scan.scan_documents import Verdict
from pipeline.programs.verify.verify import Verification
from pipeline.run.request import Request
from pipeline.stages.context import Context, Databases, Options

UNDECIDED = "0" * 40
"""The signing fingerprint in a graph that is only looked at."""

SHOWN_REASONS = 12

_TRUE, _FALSE = {"true", "1"}, {"false", "0"}


def version_of(request: Request, product: Product) -> Version:
    """Return the version. Raises UsageError without a tag and VersionError for a malformed one."""
    if not request.tag:
        raise UsageError("which version? --tag is missing", resolution="name the tag, as in --tag v1.2.3")
    return parse_tag(request.tag, product.version.scheme)


def databases(request: Request, product: Product) -> Databases:
    """Return where the scanners' databases come from. Raises UsageError for two answers at once."""
    if request.scan_db and request.advisories:
        raise UsageError(
            "--scan-db cannot be used with --advisories",
            resolution="keep --scan-db to use databases that you already have",
        )
    if request.scan_db:
        return Databases.GIVEN
    return Databases.ADVISORIES if request.advisories or product.scan.database == "advisories" else Databases.FEED


def context_of(
    request: Request,
    product: Product,
    source: Source,
    policy: Policy,
    *,
    toolchain: Toolchain,
    images: Mapping[str, Image],
    given: Mapping[str, Given],
    prebuilt: Mapping[str, Given],
    packaging: Files,
    schemas: Files,
) -> Context:
    """Return the values of the release. Raises UsageError, and SourceError for a source that needs a newer Go."""
    variants = _variants(request, product)
    fips = any(variant.fips for variant in product.variants(variants))
    native = fips and request.fips_module == FipsModule.GO.value
    check_go(toolchain.version, source.go_directive, native_fips=native)
    return Context(
        product=product,
        version=version_of(request, product),
        source=source,
        policy=policy,
        toolchain=toolchain,
        images=images,
        options=Options(
            fips_module=FipsModule(request.fips_module),
            require_openssl_fips=request.require_openssl_fips,
            snapshot=request.snapshot,
            targets=request.targets,
            variants=variants,
            databases=databases(request, product),
            signing_fingerprint=UNDECIDED,
        ),
        given=given,
        prebuilt=prebuilt,
        packaging=packaging,
        schemas=schemas,
    )


def _variants(request: Request, product: Product) -> tuple[str, ...]:
    """Return the variants asked for: by name, or by FIPS_ENABLED, or none for the product's own choice."""
    fips = request.fips_enabled.strip().lower()
    if request.variants or not fips:
        return request.variants
    if fips not in _TRUE | _FALSE:
        raise UsageError(
            f"FIPS_ENABLED must be true or false, got {fips!r}",
            resolution="set it to true or false, or leave it unset for both",
        )
    return tuple(variant.name for variant in product.variants() if variant.fips == (fips in _TRUE))


def gate_closed(context: Context, verdict: Verdict, where: str) -> GateClosedError:
    """Return the error for a release that the verdict is against; `where` is what to read."""
    gaps = set(verdict.gaps)
    reasons = sorted(verdict.reasons, key=lambda reason: reason not in gaps)
    more = [f"  … and {len(reasons) - SHOWN_REASONS} more"] if len(reasons) > SHOWN_REASONS else []
    ways = []
    if not gaps.issuperset(reasons):
        accept = "accept a finding in the policy with a reason, an owner and an expiry date (never a critical one)"
        ways.append(f"update what is vulnerable, or {accept}")
    if gaps:
        age = "the policy's `database_max_age_days` is how old one may be"
        ways.append(f"give each scanner a database that is complete and up to date: {age}")
    return GateClosedError(
        f"the gate is closed: {context.product.name} {context.version} is not released",
        details="\n".join([f"  {reason}" for reason in reasons[:SHOWN_REASONS]] + more),
        resolution=f"read {where}; then {'; and '.join(ways)}",
    )


def verified_text(release: str, document: str) -> str:
    """Return the same for the JSON document that the step of `verify` has written."""
    return verified(release, read_document(Verification, document, where="verification.json"))


def verified(release: str, result: Verification) -> str:
    """Return the report on a sound release. Raises VerificationError with every problem of another."""
    if result.problems:
        raise VerificationError(
            f"{release} does not check out",
            details="\n".join(f"  {problem}" for problem in result.problems),
            resolution="do not install it; fetch it again, or ask who published it",
        )
    text = (
        f"{result.product} {result.version}: {result.files} files check out, signed by {', '.join(result.signed_by)}\n"
    )
    if not result.key_is_pinned:
        text += "note: checked with the key inside the release; compare its fingerprint with one you trust\n"
    if result.development:
        text += "note: signed with a development key; this release is not for shipping\n"
    return text
