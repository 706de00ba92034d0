"""The summary of a run: counts from its chunks, and their printed form."""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from patchmatch.core.messages import counted, printable
from patchmatch.writing.chunks import RunChunks


def summarize(chunks: RunChunks, table: str) -> dict[str, Any]:
    """Count pairs, rows and sources in the chunks of a run.

    Args:
        chunks: The chunks of a run.
        table: Name of the table whose rows are counted, also by their ``kind`` if they have one.

    Returns:
        ``sources`` (with pairs), ``pairs`` and ``rows``: counts; ``kinds``: count of each kind;
        ``matchers``: count of each ``matcher``, if the rows name one; ``skipped``: the distinct
        notes, in the order of the run.
    """
    notes: dict[str, None] = {}
    sources, kinds, matchers = set(), collections.Counter(), collections.Counter()
    pairs = count = 0
    for _, record in chunks.records():
        notes |= dict.fromkeys(record["notes"])
        if record["pairs"]:
            sources.add(record["source"])
        pairs += record["pairs"]
        rows = record["rows"].get(table, ())
        count += len(rows)
        kinds.update(row["kind"] for row in rows if "kind" in row)
        matchers.update(row["matcher"] for row in rows if row.get("matcher"))
    return {
        "sources": len(sources),
        "pairs": pairs,
        "rows": count,
        "kinds": dict(sorted(kinds.items())),
        **({"matchers": dict(matchers.most_common())} if matchers else {}),
        "skipped": list(notes),
    }


def print_summary(
    summary: Mapping[str, Any], row_noun: str, pair_noun: str, outputs: Mapping[str, Path]
) -> None:
    """Print the counts of a run and the paths of its outputs.

    Args:
        summary: The result of ``summarize``, and ``complete``: whether the run finished.
        row_noun: Plural noun for rows.
        pair_noun: Plural noun for pairs.
        outputs: Paths of outputs by their labels; paths that do not exist are not printed.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not summary["complete"]:
        console.print("the run stopped early; all files written so far are valid", style="red")
        console.print("to resume it, add --writer.resume true to the same command")
    sources = "" if summary["sources"] == 1 else f" of {summary['sources']} sequences"
    counts = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in summary["kinds"].items())
    console.print(
        # the first noun is a label: scripts look for it
        f"{summary['pairs']} {pair_noun}{sources}: {counted(summary['rows'], row_noun)}"
        + (f" ({counts})" if counts else "")
    )
    if matchers := summary.get("matchers"):
        console.print("answers of " + ", ".join(f"{name}: {n}" for name, n in matchers.items()))
    for label, path in outputs.items():
        if path.exists():
            console.print(f"{label:9} {printable(str(path))}")
