"""Tools that no package archive has in the version we want, as trees: a Go toolchain and programs built with it.

Pure functions. Whatever is downloaded or built here is a step of the graph like every other, cached like every other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pipeline.config.images import ImageSpecs, ProgramSpec, ToolchainSpec
from pipeline.errors import ConfigError
from pipeline.model.image import DEFAULT_PATH, Base, Image
from pipeline.model.step import WORK, Cache, Step
from pipeline.model.tree import Files, Pick, Tree
from pipeline.programs import closure

MODULE_CACHE = f"{WORK}/.cache/go-mod"
"""Where a step keeps the modules that it downloads."""

BUILD_CACHE = Cache(f"{WORK}/.cache/go-build", "go-build")
"""What Go compiled. Shared by every step that compiles: the scanners have hundreds of packages in common."""

TIMEOUT = 3 * 3600.0
"""Seconds that building the scanners may take on a slow machine."""

ENVIRONMENT = tuple(closure.ENVIRONMENT.items())

_REQUIRED = re.compile(r"^(?:require\s+|\s+)(\S+)\s+(v\S+)", re.MULTILINE)


def bootstrap(base: Base, path: tuple[str, ...] = DEFAULT_PATH) -> Image:
    """Return the image with a go command that can download toolchains, on `path`."""
    return Image("bootstrap", base, path=path)


def go_toolchain(spec: ToolchainSpec, image: Image) -> Tree:
    """Return the official toolchain as a tree to mount at GOROOT. `image` is that of `bootstrap`."""
    step = Step(
        title=f"fetch Go {spec.version}",
        image=image,
        argv=closure.argv("toolchain.go_toolchain"),
        inputs=(
            ("program", program("toolchain.go_toolchain", version=spec.version, platform="linux-amd64", sum=spec.sum)),
        ),
        env=ENVIRONMENT,
        network=True,
        outputs=("VERSION", "bin/go", "pkg/tool/linux_amd64/compile"),
    )
    return step.out


def go_program(specs: ImageSpecs, name: str, go: Image) -> Tree:
    """Return the folder with the program of the tool `name`, built in the image `go`.

    All programs of one module are built by one step, which costs little more than the largest of them alone.
    """
    spec = specs.tools[name]
    assert isinstance(spec, ProgramSpec)
    return Pick(_module(specs, spec.module, go), root=name)


def _module(specs: ImageSpecs, module: str, go: Image) -> Tree:
    source = specs.modules[module]
    tools = {
        name: tool for name, tool in specs.tools.items() if isinstance(tool, ProgramSpec) and tool.module == module
    }
    vendor = Step(
        title=f"fetch the modules of {_list(tools)}",
        image=go,
        argv=closure.argv("toolchain.go_vendor"),
        inputs=(("program", program("toolchain.go_vendor", module=module)), ("source", source)),
        env=(("GOMODCACHE", MODULE_CACHE), *ENVIRONMENT),
        caches=(Cache(MODULE_CACHE, f"go-mod-{module}"),),
        network=True,
        outputs=("vendor/modules.txt",),
    )
    programs = [
        {
            "folder": name,
            "package": tool.package,
            "program": executable(tool.package),
            "variables": _variables(tool, _version(source, module, tool.package)),
        }
        for name, tool in sorted(tools.items())
    ]
    build = Step(
        title=f"build {_list(tools)}",
        image=go,
        argv=closure.argv("toolchain.go_install"),
        inputs=(
            ("program", program("toolchain.go_install", module=module, programs=programs)),
            ("source", source),
            ("vendor", vendor.out),
        ),
        env=(("GOCACHE", BUILD_CACHE.mount), *ENVIRONMENT),
        caches=(BUILD_CACHE,),
        outputs=tuple(f"{program['folder']}/{program['program']}" for program in programs),
        timeout=TIMEOUT,
        expected_seconds=sum(tool.seconds for tool in tools.values()),
    )
    return build.out


def _list(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}" if most else last


def executable(package: str) -> str:
    """Return the name of a package's program: the last element of its path, a major version aside."""
    *rest, last = package.rstrip("/").split("/")
    return rest[-1] if rest and re.fullmatch(r"v[0-9]+", last) else last


def _variables(tool: ProgramSpec, version: str) -> dict[str, str]:
    if not version:
        return {}
    return {name: value.replace("{version}", version) for name, value in tool.variables.items()}


def _version(source: Files, module: str, package: str) -> str:
    if package.startswith("."):
        return ""
    text = dict(source.entries)[f"{module}/go.mod"].content.decode("utf-8", "replace")
    required: dict[str, str] = {
        path: version for path, version in _REQUIRED.findall(text) if f"{package}/".startswith(f"{path}/")
    }
    if not required:
        raise ConfigError(
            f"packaging/tools/{module}/go.mod does not require a module with the package {package}",
            resolution=f"run `go get -tool {package}@<version>` in packaging/tools/{module}",
        )
    return required[max(required, key=len)].removeprefix("v")


def program(name: str, **params: Any) -> Files:
    """Return the files of a program of `pipeline/programs`, with its parameters."""
    return Files.of({**closure.needed(name), "params.json": json.dumps(params, sort_keys=True, indent=1) + "\n"})
