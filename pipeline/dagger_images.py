"""How a Dagger engine asks a registry what a reference means: the module itself has no way to reach one."""

from __future__ import annotations

import re

import dagger

from pipeline.errors import ImageError
from pipeline.images.lock import PLATFORM
from pipeline.images.pin import Ask, NoSuchImageError
from pipeline.images.reference import Reference

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
