"""Images on a Dagger engine: what a reference means, and whether an image has what steps need.

The module itself has no way to reach a registry: the engine is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import dagger

from pipeline.engine import failure
from pipeline.engine.dagger import step as sealed
from pipeline.errors import ImageError
from pipeline.images.needs import FOUND, Run
from pipeline.images.pin import Ask
from pipeline.model.image import Base
from pipeline.model.step import Step
from pipeline.model.target import PLATFORM
from pipeline.oci.reference import NoSuchImageError, Reference

_ABSENT = re.compile(r"(?:@sha256:[0-9a-f]{64}|:[A-Za-z0-9_.-]+): not found\b")
"""The end of containerd's error for a 404, after the reference (core/remotes/docker/resolver.go)."""


def asker(client: dagger.Client) -> Ask:
    """Return the function that asks with the engine's own registries, mirrors and credentials.

    With `dagger --lock`, the engine looks a tag up in `.dagger/lock` first, and writes down what it resolved.
    """

    async def ask(reference: Reference) -> str:
        container = client.container(platform=dagger.Platform(PLATFORM)).from_(str(reference))
        try:
            return (await container.image_ref()).rpartition("@")[2]
        except dagger.QueryError as error:
            raise refused(reference, str(error)) from error

    return ask


def looker(client: dagger.Client, archives: Mapping[str, dagger.File]) -> Run:
    """Return the function that looks into an image: without `seal`, which is compiled in an image that must be good."""

    async def look(step: Step) -> str:
        container = sealed.base(client, step, archives)
        for name, value in step.environment("").items():
            container = container.with_env_variable(name, value)
        container = container.with_user(sealed.ROOT).with_directory("/out", client.directory())
        try:
            return await container.with_exec(list(step.argv)).file(f"/out/{FOUND}").contents()
        except dagger.ExecError as error:
            if error.command[:1] != list(step.argv[:1]):
                raise not_added(step.image.base, error) from error
            what = failure.ended_with(error.exit_code) if error.exit_code >= 0 else f"did not start: {error.message}"
            raise failure.failed(step, what, output=error.stderr.splitlines()) from error
        except dagger.QueryError as error:
            raise sealed.engine_failure(error, step) from error

    return look


def not_added(base: Base, error: dagger.ExecError) -> ImageError:
    """Return the error for an image to which its package manager could not add packages."""
    lines = f"{error.stdout}\n{error.stderr}".strip().splitlines()
    return ImageError(
        f"{base.manager} could not add packages to the image {base.name} ({', '.join(base.packages)})",
        details="\n".join(lines[-20:]),
        resolution="check the engine's network and proxy settings, and `packages` of this image in images.toml",
    )


def refused(reference: Reference, answer: str) -> ImageError:
    """Return the error for an image that the engine did not get; `answer` is what it said."""
    if _ABSENT.search(answer):
        return NoSuchImageError(
            f"there is no image {reference}", details=answer, resolution="correct the reference in images.toml"
        )
    return ImageError(
        f"the Dagger engine cannot get {reference}",
        details=answer,
        resolution="check the engine's network, mirrors (`registries` in engine.json) and credentials; or write the "
        "images with `pipeline images export --output DIR` and pass that folder as --images",
    )
