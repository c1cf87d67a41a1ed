"""One step on Dagger: its container, and the program `seal` that keeps the promises a container does not make.

A container of Dagger has a network, a host name of its own, the image's environment and a dozen variables of Dagger's
tracing. The API has no way to switch any of that off, so every program is started by `seal` (its source is beside this
file): it sets exactly the step's environment, drops capabilities, keeps the time limit, takes secrets out of what is
printed, and checks what was left in `/out`. For a step without network it also makes namespaces of its own, which is
why those run with `insecure_root_capabilities`: `seal` gives them up before the program starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import dagger

from pipeline.engine import failure
from pipeline.engine.base import environment
from pipeline.engine.network import PASSED
from pipeline.errors import EngineError, ImageError, PipelineError, StepFailedError
from pipeline.model.image import Base
from pipeline.model.step import WORK, Caching, ExitCode, Step
from pipeline.model.tree import Files

SEAL = "/run/pipeline/seal"
SPECIFICATION = "/run/pipeline/step.json"
ROOT = "0:0"
"""The user of every program. Both numbers, because an image without /etc/passwd knows no group of user 0."""

_FORBIDDEN = "security.insecure is not allowed"


def source() -> Files:
    """Return the source of `seal`."""
    folder = files("pipeline.engine.dagger").joinpath("seal")
    return Files.of(
        {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith((".go", ".mod"))}
    )


def compiled(container: dagger.Container, code: dagger.Directory, path: tuple[str, ...]) -> dagger.File:
    """Return `seal`, compiled from `code` in a container with Go: standard library only, and no network needed."""
    variables = {
        "CGO_ENABLED": "0",
        "GOCACHE": "/tmp/go-build",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
        "HOME": "/tmp",
        "PATH": ":".join(path),
    }
    for name, value in variables.items():
        container = container.with_env_variable(name, value)
    build = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", "/out/seal", "."]
    container = container.with_mounted_temp("/tmp").with_directory("/code", code).with_workdir("/code")
    return container.with_exec(build).file("/out/seal")


def specification(step: Step, variables: Mapping[str, str], today: str, nonce: str) -> str:
    """Return what `seal` has to know of `step`, as JSON.

    Dagger takes a step with another specification for another one: that of a step that runs once a day has the day,
    `today`, and that of a step that is never cached has `nonce`.
    """
    settings = variables if step.network else {}
    return json.dumps(
        {
            "env": {**settings, **environment(step, today)},
            "pass": PASSED if step.network else (),
            "isolate": not step.network,
            "secrets": step.secrets,
            "caches": [cache.mount for cache in step.caches],
            "outputs": step.outputs,
            "epoch": step.epoch,
            "timeout": step.timeout,
            "exit_code_is_data": step.exit_code is ExitCode.IS_DATA,
            "run": nonce if step.caching is Caching.NEVER else "",
        },
        sort_keys=True,
    )


def base(client: dagger.Client, step: Step, archives: Mapping[str, dagger.File]) -> dagger.Container:
    """Return the container of a step's base. Raises ImageError when there is no way to have it."""
    return root(client, step.image.base, step.platform, archives)


def root(client: dagger.Client, base: Base, platform: str, archives: Mapping[str, dagger.File]) -> dagger.Container:
    """Return a container of `base`: out of an archive, or pulled with what its packages need added."""
    container = client.container(platform=dagger.Platform(platform))
    if base.content in archives:
        return container.import_(archives[base.content])
    if not base.reference:
        raise ImageError(
            f"this engine has no image for {base.name}",
            resolution="write it with `pipeline images export --output DIR`, and pass that folder as --images",
        )
    container = container.from_(base.reference).with_user(ROOT)
    if not base.packages:
        return container
    match base.manager:
        case "apt":
            install = ["apt-get", "install", "--yes", "--no-install-recommends", *base.packages]
            return container.with_exec(["apt-get", "update"]).with_exec(install)
        case "dnf":
            return container.with_exec(["dnf", "install", "--assumeyes", *base.packages])
        case _:
            raise ImageError(f"{base.name} names packages to add, and no manager that adds them")


def private(
    client: dagger.Client, container: dagger.Container, step: Step, secrets: Mapping[str, dagger.Secret]
) -> dagger.Container:
    """Return `container` with the directories, caches and secrets of `step`. Raises EngineError without a secret.

    Dagger mounts file systems in memory after all others, so one would hide a cache below it.
    """
    for mount in ("/tmp", "/var/tmp", WORK):
        if any(cache.mount.startswith(f"{mount}/") for cache in step.caches):
            container = container.with_mounted_directory(mount, client.directory())
        else:
            container = container.with_mounted_temp(mount)
    for cache in step.caches:
        container = container.with_mounted_cache(cache.mount, client.cache_volume(cache.key))
    for name in step.secrets:
        if name not in secrets:
            raise EngineError(
                f'step "{step.title}" needs the secret {name!r}, which was not given',
                resolution="pass it to the engine",
            )
        container = container.with_mounted_secret(f"/run/secrets/{name}", secrets[name], mode=0o400)
    return container.with_user(ROOT).with_directory("/out", client.directory()).with_workdir(WORK)


def not_made(step: Step, paths: list[str]) -> StepFailedError:
    """Return the error for a step that did not leave what it promised."""
    return failure.failed(step, failure.did_not_make(paths))


def step_failure(step: Step, error: dagger.ExecError) -> PipelineError:
    """Return what `seal` prints about a failed step, or the output of a program that was started without it.

    A negative exit code is the engine's: it did not start the program.
    """
    if error.exit_code < 0:
        return engine_failure(error, step)
    lines = error.stdout.splitlines()
    try:
        verdict: dict[str, Any] = json.loads(error.stderr.splitlines()[-1])
        problem = verdict["problem"]
    except (IndexError, ValueError, TypeError, KeyError):
        return failure.failed(step, failure.ended_with(error.exit_code), output=[*lines, *error.stderr.splitlines()])
    match problem:
        case "exit":
            return failure.failed(step, failure.ended_with(verdict["code"]), output=lines)
        case "timeout":
            return failure.failed(step, failure.took_longer(step.timeout), output=lines)
        case "missing":
            return failure.failed(step, failure.did_not_make(verdict["paths"]), output=lines)
        case "special":
            what = f"left a {verdict['kind']} in its output: /out/{verdict['paths'][0]}"
            return failure.failed(step, what, output=lines)
        case "leak":
            return failure.left_secret(step, verdict["secret"], verdict["paths"][0])
        case "exposed":
            return failure.exposed(step, verdict["secret"])
        case _:
            return EngineError(
                f'the container of step "{step.title}" cannot be sealed',
                details=str(verdict["text"]),
                resolution="give the Dagger engine the rights that docs/dagger.md names",
            )


def engine_failure(error: dagger.DaggerError, step: Step | None = None) -> EngineError:
    """Return the error that says why the Dagger engine could not do what it was asked."""
    where = f' at step "{step.title}"' if step else ""
    if _FORBIDDEN in str(error):
        return EngineError(
            f"the Dagger engine forbids insecure root capabilities{where}",
            details="A step without network needs them for a moment, to make a network of its own that leads nowhere. "
            "They are dropped before its program starts.",
            resolution='remove "insecureRootCapabilities": false from "security" in engine.json, or use the embedded '
            "engine, which needs no privileges: ./pipelinew",
        )
    return EngineError(
        f"the Dagger engine failed{where}", details=str(error), resolution="look at the engine's own log, and run again"
    )
