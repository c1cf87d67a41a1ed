"""Pins: which commit each tag was seen at first, so that a tag which moves later is noticed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.host.disk import write_whole

logger = logging.getLogger(__name__)


class Pins:
    """The pins of one product, in `<home>/pins/<product>.json`. Its user holds the lock of the sources."""

    def __init__(self, home: Path, product: str) -> None:
        self.path = home / "pins" / f"{product}.json"

    def check(self, ref: str, commit: str) -> None:
        """Raise SourceError if `ref` named another commit before."""
        before = self._read().get(ref, commit)
        if before != commit:
            raise SourceError(
                f"the tag {ref} has moved: it was {before}, and is {commit} now",
                details="A tag that moves is a mistake upstream, or an attack. Somebody who knows why has to say so.",
                resolution=f"compare the two commits; then accept the new one with --accept-moved-tag ({self.path})",
            )

    def set(self, ref: str, commit: str) -> None:
        """Remember that `ref` names `commit`, durably. Raises SourceError when that cannot be written."""
        pins = self._read()
        if pins.get(ref) == commit:
            return
        logger.info("the tag %s is commit %s from now on (%s); before: %s", ref, commit, self.path, pins.get(ref))
        pins[ref] = commit
        try:
            write_whole(self.path, f"{json.dumps(pins, indent=1, sort_keys=True)}\n".encode())
        except OSError as error:
            raise SourceError(
                f"cannot write {self.path}: {error.strerror}", resolution="correct its permissions, or free some space"
            ) from error

    def _read(self) -> dict[str, str]:
        try:
            pins = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._unreadable(str(error)) from error
        if not isinstance(pins, dict) or not all(isinstance(commit, str) for commit in pins.values()):
            raise self._unreadable("it is not an object of tags and commits")
        return pins

    def _unreadable(self, reason: str) -> SourceError:
        return SourceError(
            f"the pinned tags cannot be read: {reason}",
            details=str(self.path),
            resolution="restore the file from a backup; without it, a moved tag goes unnoticed, so delete it "
            "only if you accept that",
        )
