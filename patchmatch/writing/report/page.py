"""Assembly of a report page from template, style, scripts, data and thumbnails.

The page of a system fills the slots of ``assets/template.html``: ``unit``, what one step of the
playback is called; ``tables``, links to the tables; ``timeline`` and ``timelineLabel``, caption and
description of the timeline; ``controls`` beside the frame; ``listing``, the title of the table; and
``keys``, the keys that are not those of the playback.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from patchmatch.io import atomic_path
from patchmatch.writing.report.thumbnails import ResizedThumbnails

MAX_BYTES = 60_000_000  # browsers open pages up to this size without delay
THUMBNAILS_PER_ELEMENT = 64  # the page splits the text of one element at once
_SHARED = "patchmatch.writing.report"
_SHARED_SCRIPTS = ("base.js", "thumbnails.js", "stage.js", "axis.js", "transport.js")


def write_page(
    path: str | Path,
    package: str,
    scripts: Sequence[str],
    data: Mapping[str, Any],
    summary: Mapping[str, Any],
    thumbnails: Callable[[int], bytes | None],
    groups: Sequence[Sequence[int]],
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write a page atomically; thumbnails are downsized where they exceed the size limit.

    Args:
        path: The .html to write.
        package: Package with assets/page.html, the contents of the slots, and the scripts.
        scripts: Names of its scripts, in order; they follow the shared ones.
        data: JSON content for the scripts, as ``data``. ``summary``, ``note`` on downsized
            thumbnails and ``thumbnailsPerElement`` are added.
        summary: Content of summary.json.
        thumbnails: Returns the JPEG of a frame by an index of its group, see ``thumbnail``; None
            without one. It is called several times in any order.
        groups: For each thumbnail, the indices that share it.
        max_bytes: Maximum size of the page. Data are always written in full.

    Raises:
        InputError: If the page cannot be written.
    """
    content = {**data, "summary": _jsonable(summary)}
    content["thumbnailsPerElement"] = THUMBNAILS_PER_ELEMENT
    head, middle, tail = _template(package, scripts)
    used = sum(map(len, (head, middle, tail, _script_json(content))))
    count = len(groups)
    markup = 4 * count + 64 * (count // THUMBNAILS_PER_ELEMENT + 16)
    available = max(0, (max_bytes - used - markup) * 3 // 4)  # base64 turns 3 bytes into 4
    resized = ResizedThumbnails(thumbnails, groups, available)
    content["note"] = resized.note
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines((head, _script_json(content), middle))
        file.writelines(_elements(resized))
        file.write(tail)


def _template(package: str, scripts: Sequence[str]) -> tuple[bytes, bytes, bytes]:
    """Return the page before the data, between data and thumbnails, and after them."""
    style = _asset(_SHARED, "page.css")
    assets = [(_SHARED, name) for name in _SHARED_SCRIPTS] + [(package, name) for name in scripts]
    text = "\n".join(_asset(*asset) for asset in assets)
    script = f'"use strict";\n(() => {{\n{text}}})();\n'
    # The policy forbids loading anything, and any other script or style.
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    slots = _slots(_asset(package, "page.html"))
    slots |= {"policy": policy, "style": style, "script": script}
    head, rest = _asset(_SHARED, "template.html").split("{{data}}")
    middle, tail = rest.split("{{thumbnails}}")

    def filled(part: str) -> bytes:
        return re.sub(r"{{(\w+)}}", lambda slot: slots[slot[1]], part).encode()

    return filled(head), filled(middle), filled(tail)


def _slots(text: str) -> dict[str, str]:
    """Return the contents of the slots of a page, each after a comment with its name."""
    _, *parts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)
    return {name: part.rstrip("\n") for name, part in zip(parts[::2], parts[1::2], strict=True)}


def _asset(package: str, name: str) -> str:
    """Return a file of a page as text, with normalised line ends."""
    return files(package).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _script_json(data: object) -> bytes:
    """Return JSON for a script element, with "<" escaped so that it cannot end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").encode("ascii")


def _jsonable(value: object) -> object:
    """Convert a value to JSON types; non-finite floats and unknown types become strings."""
    if isinstance(value, Mapping):
        return {str(name): _jsonable(content) for name, content in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _elements(thumbnails: Iterable[bytes]) -> Iterator[bytes]:
    """Yield script elements with one base64 thumbnail per line; the page decodes them on demand."""
    remaining, number = iter(thumbnails), 0
    while lines := [base64.b64encode(jpeg) for jpeg in islice(remaining, THUMBNAILS_PER_ELEMENT)]:
        yield b'<script type="text/plain" id="thumbnails-%d">' % number
        yield b"\n".join(lines) + b"</script>\n"
        number += 1
