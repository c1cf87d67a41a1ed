"""Fetches the Go vulnerability database and lays it out as govulncheck reads it: `index/` and `ID/`.

Params: `url` of the archive with the whole database (https://go.dev/security/vuln/database); `out`, the folder to
write.

An archive that is not such a database, or not whole, is an error: one without entries would let everything pass.
"""

from __future__ import annotations

import io
import json
import re
import sys
import urllib.error
import urllib.request
import zipfile

from pipeline.programs.common import Params, Problem, run_program

TIMEOUT = 60
"""Seconds without an answer."""
LIMIT = 500_000_000
"""Bytes; the archive has about 5 million, and what is in it twenty."""
INDEX = ("index/db.json", "index/modules.json", "index/vulns.json")
WANTED = re.compile(r"(?:index/(?:db|modules|vulns)|ID/[A-Za-z0-9][A-Za-z0-9._-]*)\.json")


def download(url: str) -> bytes:
    """Return the archive. Raises Problem if it is not available."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(LIMIT + 1)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Problem(f"{url} cannot be fetched: {reason}; use --scan-db DIR for a database that you have") from None
    if len(data) > LIMIT:
        raise Problem(f"{url} has more than {LIMIT} bytes")
    return data


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of the database by name. Raises Problem for another archive, or an incomplete one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if WANTED.fullmatch(entry.filename)]
            if sum(entry.file_size for entry in entries) > LIMIT:
                raise Problem(f"the database has more than {LIMIT} bytes")
            files = {entry.filename: archive.read(entry) for entry in entries}
    except zipfile.BadZipFile as error:
        raise Problem(f"what was fetched is not a whole zip archive: {error}") from None
    lacking = [name for name in INDEX if name not in files]
    if not lacking:
        lacking = [name for name in entries_of(files) if name not in files]
    if lacking or len(files) == len(INDEX):
        raise Problem(f"the database lacks {', '.join(lacking[:5]) or 'every entry'}")
    return files


def entries_of(files: dict[str, bytes]) -> list[str]:
    """Return the names of the files that the index lists. Raises Problem if it cannot be read."""
    try:
        json.loads(files[INDEX[0]])["modified"]
        return [f"ID/{entry['id']}.json" for entry in json.loads(files[INDEX[2]])]
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"the index of the database cannot be read: {error!r}") from None


def main(params: Params) -> None:
    """Write the database."""
    files = unpack(download(params["url"]))
    out = params.path("out", "/out")
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    print(f"{len(files) - len(INDEX)} entries, of {json.loads(files[INDEX[0]])['modified']}", file=sys.stderr)


if __name__ == "__main__":
    run_program(main)
