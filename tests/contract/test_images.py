"""Looking into an image for what steps need of it."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from pipeline.errors import ImageError
from pipeline.images import needs
from pipeline.images.needs import Check
from pipeline.model.step import Step
from tests.contract.adapters import Adapter


def look(engine: Adapter, *wanted: tuple[str, str]) -> tuple[Check, str]:
    (check,) = needs.checks({"tiny": engine.image}, {"tiny": set(wanted)})
    return check, engine.look(check.step)


def test_what_an_image_has_is_found_and_what_it_lacks_is_named(engine: Adapter) -> None:
    check, found = look(
        engine,
        ("sh", "*"),
        ("no-such|cat", "list"),
        ("/etc/hosts", "list"),
        ("/etc/no-such", "list"),
        ("no-such", "sign"),
        ("python3>=3.9", "index"),
        ("python3:json", "index"),
    )
    assert check.missing(found) == [
        'image "tiny" has no /etc/no-such, which step "list" needs',
        'image "tiny" has no no-such, which step "sign" needs',
        'image "tiny" has no Python module json, which step "index" needs',
        'image "tiny" has no Python 3.9 or newer as python3, which step "index" needs',
    ]


def test_an_image_without_a_shell_is_an_error_that_names_it(engine: Adapter) -> None:
    (check,) = needs.checks({"tiny": engine.image}, {"tiny": {("sh", "*")}})
    step = check.step
    lacking = Step(title=step.title, image=step.image, argv=("/bin/no-shell", *step.argv[1:]), outputs=step.outputs)

    async def run(each: Step) -> str:
        return await anyio.to_thread.run_sync(engine.look, each)

    with pytest.raises(ImageError) as caught:
        anyio.run(needs.verify, [Check(step=lacking, wanted=check.wanted)], run)
    assert "no shell runs in the image tiny" in caught.value.details
