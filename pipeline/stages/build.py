"""Build: modules from the network once, then every binary without it, then a proof of what each binary is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.product import Variant
from pipeline.config.toolchain import OLDEST
from pipeline.errors import UsageError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.source import go_order
from pipeline.model.step import WORK, Cache, Step
from pipeline.model.target import Target
from pipeline.model.tree import Files, Pick, Tree
from pipeline.programs import closure
from pipeline.programs.build import fips_probe, prove
from pipeline.programs.build import openssl_fips as openssl_fips_program
from pipeline.programs.build.proof import FipsModule
from pipeline.stages.context import Context
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage

GO = "go"
CROSS_COMPILERS = {("linux", "arm64"): "aarch64-linux-gnu-gcc"}
BORING_LINKED = ("-linkmode=external", "'-extldflags=-static -Wl,--build-id=none'")
BORING_TAGS = ("netgo", "osusergo")
GO_FIPS_MODULE = "v1.0.0"
"""The frozen Go Cryptographic Module with CMVP certificate 5247."""
COMPILING = 4 * 3600.0
"""Seconds in which one binary must be compiled: SeaweedFS 4.44 took 35 minutes beside other work on two cores."""


def boring_ldflags(context: Context) -> tuple[str, ...]:
    """Return the linker's flags for BoringCrypto.

    Since Go 1.26 the linker writes the version `go1.26.11-X:boringcrypto` into such a binary. grype, trivy and syft do
    not take that for a version, and find no vulnerability in Go's own library. They read what older linkers wrote,
    `go1.26.11 X:boringcrypto`.
    """
    version = context.toolchain.version
    if go_order(version) < go_order("1.26"):
        return BORING_LINKED
    return (*BORING_LINKED, f"'-X=runtime.buildVersion=go{version} X:boringcrypto'")


def make(context: Context, made: Made) -> Made:  # noqa: ARG001 - the first stage
    """Return every binary with the proof of what it is, and what was asked to be proved of the build image."""
    module_cache = modules(context)
    artifacts: list[Artifact] = []
    for target, variant in matrix(context):
        built = binary(context, target, variant, module_cache)
        artifacts += [built, proof(context, built, target, variant)]
    if context.options.require_openssl_fips:
        artifacts.append(openssl_fips(context))
    return Made(artifacts=tuple(artifacts))


STAGE = Stage(make=make, chosen=False, verb="build", also=("sbom",))


def matrix(context: Context) -> list[tuple[Target, Variant]]:
    """Return the targets and variants to build: all that the product has, or those that were chosen.

    Raises UsageError for a choice that the product does not have.
    """
    known = {str(target): target for target in context.product.targets}
    unknown = [name for name in context.options.targets if name not in known]
    if unknown:
        raise UsageError(
            f"{context.product.name} is not built for {', '.join(unknown)}",
            resolution=f"choose among: {', '.join(known)}",
        )
    targets = [known[name] for name in known if not context.options.targets or name in context.options.targets]
    return [(target, variant) for target in targets for variant in context.product.variants(context.options.variants)]


def modules(context: Context) -> Tree | None:
    """Return Go's module cache for the source, or None for a source that has its modules in `vendor/`.

    The only step of a build that may use the network; every module is checked against the source's go.sum. Go's own
    FIPS module, which the toolchain brings, is unpacked there too: no compiler may write to it afterwards.
    """
    if context.source.vendored:
        return None
    module = context.product.source.module
    root = "" if module == "." else module
    native = {"GOFIPS140": GO_FIPS_MODULE} if context.options.fips_module is FipsModule.GO else {}
    go_files = Pick(context.source.tree, paths=("go.mod",), optional=("go.sum",), root=root)
    step = Step(
        title="go modules",
        image=context.image(GO),
        argv=("go", "-C", "/in/source", "mod", "download", "-modcacherw"),
        inputs=(("source", go_files),),
        env=_environment(modules="/out", flags="-mod=readonly", **native),
        network=True,  # of a source that needs no module it leaves nothing
    )
    return step.out


def binary(context: Context, target: Target, variant: Variant, module_cache: Tree | None) -> Artifact:
    """Return the binary of `variant` for `target`, compiled with no network."""
    name = context.product.artifact(context.version, target, variant)
    return Artifact(
        name=name,
        kind=Kind.BINARY,
        tree=_compile(context, target, variant, name, module_cache).out,
        target=str(target),
        variant=variant.name,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the go command has to be told to see exactly the code of one binary."""

    folder: str
    tags: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, Tree], ...]
    ldflags: tuple[str, ...]


def settings(context: Context, target: Target, variant: Variant, module_cache: Tree | None) -> Settings:
    """Return the settings of the binary of `variant` for `target`, for the compiler and others who read its source."""
    product, source = context.product, context.source
    fips = context.options.fips_module if variant.fips else None
    tags = [*product.tags(context.version, variant)]
    cgo = product.build.cgo
    extra = dict(product.build.env)
    ldflags = [*product.ldflags(context.version, commit=source.commit, epoch=source.epoch), "-w", "-buildid="]
    if fips is FipsModule.BORINGCRYPTO:
        cgo, tags = True, [*tags, *BORING_TAGS]
        extra["GOEXPERIMENT"] = "boringcrypto"
        ldflags += boring_ldflags(context)
    elif fips is FipsModule.GO:
        extra["GOFIPS140"] = GO_FIPS_MODULE
    if cgo and (target.os, target.arch) in CROSS_COMPILERS:
        extra["CC"] = CROSS_COMPILERS[target.os, target.arch]
    env = _environment(
        modules="/in/modules" if module_cache else f"{WORK}/modules",
        flags="-mod=readonly" if module_cache else "-mod=vendor",
        GOOS=target.os,
        GOARCH=target.arch,
        CGO_ENABLED="1" if cgo else "0",
        GOPROXY="off",
        GOSUMDB="off",
        **extra,
    )
    return Settings(
        folder=str(PurePosixPath("/in/source", product.source.module)),
        tags=tuple(sorted(set(tags))),
        env=env,
        inputs=tuple(sorted({"source": source.tree, **({"modules": module_cache} if module_cache else {})}.items())),
        ldflags=tuple(ldflags),
    )


def _compile(context: Context, target: Target, variant: Variant, name: str, module_cache: Tree | None) -> Step:
    how = settings(context, target, variant, module_cache)
    argv = ["go", "-C", how.folder, "build", "-trimpath", "-buildvcs=false"]
    argv += [f"-tags={','.join(how.tags)}"] if how.tags else []
    argv += [f"-ldflags={' '.join(how.ldflags)}", "-o", f"/out/{name}", context.product.build.package]
    return Step(
        title=f"build {target.os}-{target.arch} {variant.name}",
        image=context.image(GO),
        argv=tuple(argv),
        inputs=how.inputs,
        env=how.env,
        caches=(_compiler_cache(target, variant),),
        epoch=context.epoch,
        outputs=(name,),
        timeout=COMPILING,
    )


def proof(context: Context, built: Artifact, target: Target, variant: Variant) -> Artifact:
    """Return the proof that `built` is what its name says: architecture, linkage, FIPS, version, commit."""
    name = f"{built.name}.proof.json"
    module = context.options.fips_module if variant.fips else None
    source = context.source
    expected = context.product.version_output(
        context.version, variant, target, commit=source.commit, epoch=source.epoch
    )
    probe = _probe(context, target, variant) if module else None
    step = inside(
        "build.prove",
        prove.Parameters(
            probe=Path("/in/probe/probe.json") if probe else None,
            binary=Path(f"/in/binary/{built.name}"),
            os=target.os,
            arch=target.arch,
            variant=variant.name,
            fips_module=module,
            static=context.product.build.static,
            version_argv=tuple(context.product.build.version_command),
            version_output=expected,
            toolchain=f"go{context.toolchain.version}",
            forbidden=("/in/source", "/in/modules", f"{WORK}/"),
            out=Path(f"/out/{name}"),
        ),
        title=f"prove {target.os}-{target.arch} {variant.name}",
        image=context.image(GO),
        inputs={"binary": built.tree, **({"probe": probe.out} if probe else {})},
        outputs=(name,),
        epoch=context.epoch,
        env={"GOCACHE": f"{WORK}/go-build", "GOTOOLCHAIN": "local", "HOME": WORK},
    )
    return Artifact(
        name=name,
        kind=Kind.PROOF,
        tree=step.out,
        target=built.target,
        variant=built.variant,
        subject=built.name,
    )


def _probe(context: Context, target: Target, variant: Variant) -> Step:
    """Return the step that asks the FIPS module, in a program compiled like the binary, what it does and refuses."""
    how = settings(context, target, variant, None)
    boring = context.options.fips_module is FipsModule.BORINGCRYPTO
    return inside(
        "build.fips_probe",
        fips_probe.Parameters(
            module=context.options.fips_module,
            version=GO_FIPS_MODULE,
            arch=target.arch,
            tags=BORING_TAGS if boring else (),
            ldflags=("-w", "-buildid=", *(boring_ldflags(context) if boring else ())),
        ),
        title=f"ask the FIPS module {target.os}-{target.arch} {variant.name}",
        image=context.image(GO),
        inputs={"source": _probe_source(context)},
        outputs=("probe.json",),
        epoch=context.epoch,
        env=dict(how.env),
        caches=(_compiler_cache(target, variant),),
    )


def _probe_source(context: Context) -> Files:
    """Return the probe's program with the source's own `go` line, which decides what Go does by default (GODEBUG)."""
    directive = max(context.source.go_directive, OLDEST, key=go_order)
    entries = {name: file.content for name, file in Files.of(closure.folder("build/go/fips-probe")).entries}
    return Files.of({**entries, "go.mod": f"module fipsprobe\n\ngo {directive}\n"})


def _compiler_cache(target: Target, variant: Variant) -> Cache:
    return Cache(f"{WORK}/go-build", f"go-build-{target.arch}-{variant.name}")


def openssl_fips(context: Context) -> Artifact:
    """Return the report that the OpenSSL of the general image has a working FIPS provider; its step fails without."""
    name = "openssl-fips.json"
    step = inside(
        "build.openssl_fips",
        openssl_fips_program.Parameters(),
        title="require the OpenSSL FIPS provider",
        image=context.image("debian"),
        inputs={},
        outputs=(name,),
        epoch=context.epoch,
    )
    return Artifact(name=name, kind=Kind.REPORT, tree=step.out)


def _environment(*, modules: str, flags: str, **extra: str) -> tuple[tuple[str, str], ...]:
    """Return the environment of the go command.

    With `goindex` it would remember the imports of a folder's files by their sizes and times, beside what it compiled.
    All files of a source have the same time, so it would take those of one version for those of another.
    """
    env = {
        "GOCACHE": f"{WORK}/go-build",
        "GODEBUG": ",".join(["goindex=0", *filter(None, [extra.pop("GODEBUG", "")])]),
        "GOENV": "off",
        "GOFLAGS": flags,
        "GOMODCACHE": modules,
        "GOPATH": f"{WORK}/go",
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "HOME": WORK,
        **extra,
    }
    return tuple(sorted(env.items()))
