"""The command line: the same verbs and words as the Dagger module."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pipeline.cli.options import add_option, add_options
from pipeline.cli.toolchain_options import add_toolchains
from pipeline.errors import PipelineError, UsageError
from pipeline.run.request import VERBS, Group

EPILOG = """\
exit codes: 0 done; 1 another error; 2 usage; 3 version or tag; 4 a product,
policy or image file; 5 source; 6 image; 7 a step failed; 8 the gate is closed;
9 signing; 10 verification; 11 store; 12 engine; 13 publishing
"""

Parsers = argparse._SubParsersAction  # noqa: SLF001 - the only name that argparse has for it


def build_parser() -> argparse.ArgumentParser:
    """Return the whole parser. Imports nothing heavy, so that `--help` answers at once."""
    parser = argparse.ArgumentParser(
        prog="pipeline",
        description="Turn a git tag into a built, scanned, signed release.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for verb, text in (
        ("release", "make a complete release in dist/<version>/: build, scan, package, sign"),
        ("build", "build the binaries and prove what they are"),
        ("sbom", "build the binaries and their SBOMs"),
        ("scan", "build and scan; exit with 8 if the gate is closed"),
        ("package", "build, scan and make DEB and RPM packages, unsigned; exit with 8 if the gate is closed"),
    ):
        add_options(_verb(verbs, verb, text, "release:run"), *VERBS[verb])
    planning = _verb(verbs, "plan", "list the steps, cached or not, and why; runs nothing", "inspect:plan")
    add_options(planning, *VERBS["plan"])
    planning.add_argument("--json", action="store_true", help="print JSON")
    graph = _verb(verbs, "graph", "draw the graph of steps; runs nothing", "inspect:graph")
    add_options(graph, *VERBS["graph"])
    graph.add_argument(
        "--format", choices=("dot", "mermaid", "svg"), default="mermaid", help="default: mermaid; svg needs Graphviz"
    )
    graph.add_argument("--output", metavar="FILE", help="write to FILE instead of standard output")
    shell = _verb(verbs, "shell", "open a shell in the sandbox of one step", "inspect:shell")
    shell.add_argument("step", metavar="STEP", help="a step's title, or the beginning of its digest")
    shell.add_argument("--command", metavar="TEXT", help="run TEXT with /bin/sh instead of an interactive shell")
    shell.add_argument("--today", metavar="DAY", help="YYYY-MM-DD, the day on which a scan ran (default: today)")
    add_options(shell, *VERBS["shell"])
    _verify(verbs)
    _reproduce(verbs)
    _version(verbs)
    _images(verbs)
    add_toolchains(verbs, _verb)
    _cache(verbs)
    _bundle(verbs)
    _verb(verbs, "products", "list the products that can be released", "inspect:products")
    doctor = _verb(verbs, "doctor", "check that this machine can make a release; each problem has a fix", "doctor:run")
    add_options(doctor, *VERBS["doctor"])
    keygen = _verb(verbs, "keygen", "make a signing key: RSA 4096, no passphrase, two years", "keys:generate")
    keygen.add_argument("--identity", required=True, metavar="'NAME <MAIL>'", help="whose key it is")
    keygen.add_argument(
        "--output", required=True, metavar="FILE", help="the file for the private key, made with mode 0600"
    )
    return parser


def _verb(verbs: Parsers[argparse.ArgumentParser], name: str, text: str, handler: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(handler=handler)
    add_options(parser, Group.MACHINE)
    # No option of a request: it changes nothing that is made. Dagger's own client has -v, for what its engine does.
    text = "log what is done and why to standard error; -vv: every detail"
    parser.add_argument("-v", "--verbose", action="count", default=0, help=text)
    return parser


def _verify(verbs: Parsers[argparse.ArgumentParser]) -> None:
    verify = _verb(
        verbs, "verify", "check a finished release: nothing missing, extra, changed or unsigned", "verify:run"
    )
    verify.add_argument("release", metavar="DIR", help="the folder with the release")
    verify.add_argument("--key", metavar="FILE", help="the trusted public key (default: the one in the release)")
    verify.add_argument("--fingerprint", default="", metavar="HEX", help="the fingerprint that must have signed")


def _reproduce(verbs: Parsers[argparse.ArgumentParser]) -> None:
    text = "make a release again from its source, with nothing cached, and compare every file"
    reproduce = _verb(verbs, "reproduce", text, "reproduce:run")
    reproduce.add_argument("release", metavar="DIR", help="the folder with the release")
    add_option(reproduce, "source")
    add_option(reproduce, "policy", "the policy that applied to it (default: the product's)")
    add_option(reproduce, "scan_db", "the scanner databases it was scanned with")
    add_option(reproduce, "advisories", "the OSV advisories it was scanned with")
    reproduce.add_argument("--skip-scan", action="store_true", help="leave out scans and the index, which names them")
    reproduce.add_argument(
        "--reuse-tools", action="store_true", help="use the toolchain and scanners of this machine's store"
    )
    reproduce.add_argument(
        "--output", metavar="FILE", help="the in-toto statement of the result (default: beside the release)"
    )
    reproduce.add_argument("--workspace", metavar="DIR", help="the folder for the fresh store (default: in the home)")


def _version(verbs: Parsers[argparse.ArgumentParser]) -> None:
    version = verbs.add_parser("version", help="show what a tag means, or check whether it may be released")
    actions = version.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = _verb(actions, "show", "print what a tag means to git, files, packages and ordering", "version:show")
    check = _verb(actions, "check", "check a tag before anything is published", "version:check")
    for parser in (show, check):
        parser.add_argument("--tag", required=True, metavar="TAG", help="the version, with or without v")
        parser.add_argument("--product", default="seaweedfs", metavar="NAME", help="default: seaweedfs")
    check.add_argument("--repository", metavar="DIR", help="the git repository to look in (default: here)")
    check.add_argument("--require-prefix", action="store_true", help="the tag must begin with v")
    check.add_argument(
        "--match-ref",
        metavar="REF",
        help="the tag must equal this ref ('': what is checked out)",
    )
    check.add_argument("--require-tag", action="store_true", help="the tag must exist in the repository")
    check.add_argument("--require-clean", action="store_true", help="the work tree must have no changes")


def _images(verbs: Parsers[argparse.ArgumentParser]) -> None:
    images = verbs.add_parser("images", help="manage the images that steps run in")
    actions = images.add_subparsers(dest="action", metavar="ACTION", required=True)
    _verb(
        actions, "list", "list the images, what is used for each, and what stands in for a distribution", "images:show"
    )
    lock = _verb(actions, "lock", "resolve every reference to a digest and write packaging/images.lock", "images:lock")
    lock.add_argument(
        "--check", action="store_true", help="only check whether the lock is up to date; exit with 6 if not"
    )
    _verb(actions, "outdated", "list references whose digest differs from packaging/images.lock", "images:outdated")
    check = _verb(actions, "check", "test that images are available and have what their steps need", "images:check")
    build = _verb(actions, "build", "build or pull images now", "images:build")
    export = _verb(
        actions,
        "export",
        "write the roots of images as OCI archives, for an engine that cannot reach a registry",
        "images:export",
    )
    for parser in (check, build, export):
        parser.add_argument("names", nargs="*", metavar="NAME", help="image names (default: all)")
    export.add_argument("--output", required=True, metavar="DIR", help="the folder for the archives and images.json")


def _cache(verbs: Parsers[argparse.ArgumentParser]) -> None:
    cache = verbs.add_parser("cache", help="inspect and shrink the store")
    actions = cache.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = _verb(actions, "show", "print sizes and the largest entries", "cache:show")
    show.add_argument("--json", action="store_true", help="print every entry as JSON")
    _verb(actions, "verify", "read every entry and delete damaged ones", "cache:verify")
    prune = _verb(actions, "prune", "remove the entries that were unused for longest", "cache:prune")
    prune.add_argument("--keep", default="0", metavar="SIZE", help="how much may stay: 500M, 10G (default: nothing)")
    prune.add_argument("--all", action="store_true", help="also remove images and compiler caches")


def _bundle(verbs: Parsers[argparse.ArgumentParser]) -> None:
    bundle = verbs.add_parser("bundle", help="carry what a release needs to a machine without internet")
    actions = bundle.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = _verb(
        actions,
        "create",
        "put roots, tools, modules and sources into one file",
        "bundle:create",
    )
    add_options(create, *VERBS["bundle create"])
    create.add_argument("--output", required=True, metavar="FILE", help="the tar archive to write")
    install = _verb(actions, "install", "unpack a bundle into this machine's home", "bundle:install")
    install.add_argument("bundle", metavar="FILE", help="the file from `pipeline bundle create`")


def run(arguments: Sequence[str]) -> int:
    """Parse and carry out; return the exit code. Raises PipelineError for whatever a person must act on."""
    options = build_parser().parse_args(arguments)
    from pipeline.cli import verbose  # after the help has been printed, which needs none of it

    verbose.configure(options.verbose)
    module, function = options.handler.split(":")
    handler = getattr(import_module(f"pipeline.cli.verbs.{module}"), function)
    return int(handler(options))


def main() -> None:
    """Run the command line. Prints errors for people; a traceback is a defect."""
    try:
        sys.exit(run(sys.argv[1:]))
    except PipelineError as error:
        print(f"pipeline: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("pipeline: interrupted; finished steps are kept, so the next run continues from there", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UsageError.exit_code)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(
            f"pipeline: {what}\nWhat to do: check that it exists and that you have the rights to use it",
            file=sys.stderr,
        )
        sys.exit(PipelineError.exit_code)


if __name__ == "__main__":
    main()
