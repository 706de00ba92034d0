"""The summary of a run: counted from its chunks, and told on the console."""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from patchmatch.writing.chunks import RunChunks


def summarize(chunks: RunChunks, table: str) -> dict[str, Any]:
    """Count what the chunks hold.

    Args:
        chunks: The chunks of a run.
        table: Name of the table whose rows are counted, by their ``kind`` if they have one.

    Returns:
        ``sources``, ``pairs`` and ``rows``, numbers; ``kinds``, a number each; ``skipped``, the
        notes, each once, in the order of the run.
    """
    notes: dict[str, None] = {}
    sources, kinds = set(), collections.Counter()
    pairs = count = 0
    for _, record in chunks.records():
        notes |= dict.fromkeys(record["notes"])
        sources.add(record["source"])
        pairs += record["pairs"]
        rows = record["rows"].get(table, ())
        count += len(rows)
        kinds.update(row["kind"] for row in rows if "kind" in row)
    return {
        "sources": len(sources),
        "pairs": pairs,
        "rows": count,
        "kinds": dict(sorted(kinds.items())),
        "skipped": list(notes),
    }


def print_summary(
    summary: Mapping[str, Any], things: str, compared: str, places: Mapping[str, Path]
) -> None:
    """Say in a few lines what was done and where it lies.

    Args:
        summary: As ``summarize`` counts it, and whether the run is ``complete``.
        things: What a row is, in the plural.
        compared: What ``pairs`` counts, in the plural.
        places: Where results lie, by what they are; those that do not exist are left out.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if not summary["complete"]:
        console.print("stopped before the end; what was done until then is whole", style="red")
        console.print("the same command with --writer.resume true goes on with it")
    sources = "" if summary["sources"] == 1 else f" of {summary['sources']} sequences"
    counts = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in summary["kinds"].items())
    console.print(
        f"{summary['pairs']} {compared}{sources}: {summary['rows']} {things}"
        + (f" ({counts})" if counts else "")
    )
    for name, place in places.items():
        if place.exists():
            console.print(f"{name:9} {place}")
