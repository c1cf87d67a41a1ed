"""What `pipeline images export` writes beside its archives, and an engine without a registry reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.config.toml import Document
from pipeline.errors import ImageError
from pipeline.host.disk import write_whole
from pipeline.model.image import Base

INDEX = "images.json"


class Exported(Document):
    """One image: the archive in the same folder, the content of the root in it, and what it stands in for or is."""

    archive: str
    content: str
    stands_in_for: str = ""
    made_from: str = ""
    installed: tuple[str, ...] = ()

    def base(self, name: str) -> Base:
        """Return it as the base of the image `name`."""
        stands_in_for, made_from, installed = self.stands_in_for, self.made_from, self.installed
        return Base(name, self.content, stands_in_for=stands_in_for, made_from=made_from, installed=installed)


_INDEX = TypeAdapter(dict[str, Exported])


def parse(text: str | bytes, where: str = INDEX) -> dict[str, Exported]:
    """Return the exported images by name. Raises ImageError for another text."""
    try:
        return _INDEX.validate_json(text)
    except ValidationError as error:
        raise ImageError(
            f"{where} does not describe exported images",
            details=str(error),
            resolution="write the folder again with `pipeline images export --output DIR`",
        ) from error


def read(path: Path) -> dict[str, Exported]:
    """Return the exported images of the index `path`. Raises ImageError."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read: {error.strerror}",
            resolution="name a folder that `pipeline images export --output DIR` has written",
        ) from error


def write(path: Path, images: Mapping[str, Exported]) -> None:
    """Write the index, whole or not at all. Raises OSError."""
    described = {name: image.model_dump() for name, image in images.items()}
    write_whole(path, f"{json.dumps(described, indent=2, sort_keys=True)}\n".encode())
