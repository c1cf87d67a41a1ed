"""`pipeline version show` and `pipeline version check`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from pipeline.cli.terminal import show_table
from pipeline.config.product import load_product
from pipeline.host.folders import packaging_folder
from pipeline.model.guard import check_version, require_version
from pipeline.model.version import parse_tag


def show(options: Namespace) -> int:
    """Print what the tag means to each consumer of it."""
    product = load_product(packaging_folder() / "products" / options.product)
    version = parse_tag(options.tag, product.version.scheme)
    rows = {
        "tag": version.tag,
        "version": version.number,
        "git tag": version.git_ref(product.source.tag),
        "file names": version.file,
        "deb": version.deb,
        "rpm": f"{version.rpm}-{version.rpm_release}",
        "ordering (semver)": str(version.semver),
        "pre-release": "yes" if version.is_prerelease else "no",
    }
    show_table(("", ""), rows.items(), (f"{name:<18} {value}" for name, value in rows.items()))
    return 0


def check(options: Namespace) -> int:
    """Check the tag against the product's rules and a repository; name every problem at once."""
    from pipeline.source.resolve import dirty_paths, list_tags, tags_at_head

    product = load_product(packaging_folder() / "products" / options.product)
    repository = Path(options.repository or ".")
    current: list[str] | None = None
    if options.match_ref is not None:
        current = [options.match_ref] if options.match_ref else list(tags_at_head(repository))
    problems = check_version(
        options.tag,
        scheme=product.version.scheme,
        style=product.source.tag,
        require_prefix=options.require_prefix or product.version.require_prefix,
        current=current,
        tags=list_tags(repository) if options.require_tag else None,
        dirty=dirty_paths(repository) if options.require_clean else None,
    )
    require_version(options.tag, problems)
    unasked = [text for asked, text in _questions(options) if not asked]
    more = f"; not checked: {', '.join(unasked)}" if unasked else ""
    print(f"{options.tag} is a version of {product.name}{more}" if unasked else f"{options.tag} may be released")
    return 0


def _questions(options: Namespace) -> tuple[tuple[bool, str], ...]:
    """Return what can be checked beyond the form of a tag, and whether it was asked for."""
    return (
        (options.match_ref is not None, "that it is checked out (--match-ref)"),
        (options.require_tag, "that the repository has it (--require-tag)"),
        (options.require_clean, "that the work tree is clean (--require-clean)"),
    )
