"""The state of an earlier run in a folder, and whether a new run may start there or resume it."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from patchmatch.core.errors import InputError
from patchmatch.writing.chunks import SUMMARY_FILE, TEMPORARY_FILE, RunChunks, read_json
from patchmatch.writing.settings import differences


class RunState(Enum):
    """State of the run in a folder when another run starts."""

    NEW = "new"  #: no earlier run, or one that may be overwritten
    UNFINISHED = "unfinished"  #: stopped or killed, to be resumed
    FINISHED = "finished"  #: complete, nothing to do


def resolve_run_state(
    folder: str,
    existing: Sequence[Path],
    settings: Mapping[str, Any],
    overwrite: bool,
    resume: bool,
) -> tuple[RunState, Mapping[str, Any]]:
    """Return the state of a folder, and the settings of the run that starts or resumes there.

    Args:
        folder: The folder of the run.
        existing: Files of an earlier run in it.
        settings: Settings of the new run, from ``run_settings``.
        overwrite: Whether an earlier run may be replaced.
        resume: Whether an earlier run is to be resumed.

    Raises:
        InputError: If an earlier run may be neither replaced nor resumed.
    """
    if overwrite or all(TEMPORARY_FILE.fullmatch(path.name) for path in existing):
        return RunState.NEW, settings
    previous, state = RunChunks(Path(folder)).settings(), RunState.UNFINISHED
    if previous is None:
        summary = Path(folder) / SUMMARY_FILE
        content = read_json(summary) if resume and summary.is_file() else {}
        previous = content.get("settings") if content.get("complete") else None
        state = RunState.FINISHED
    if state is RunState.UNFINISHED and not resume:
        raise InputError(
            f"{folder}: contains an unfinished run; give --writer.resume true to resume it, "
            "--writer.overwrite true to replace it, or another --writer.output_path"
        )
    if previous is None or not resume:
        raise InputError(
            f"{folder}: contains an earlier run; give --writer.overwrite true to replace it, or "
            "another --writer.output_path"
        )
    if changed := differences(previous, settings):
        raise InputError(
            f"{folder}: cannot resume the run with other settings: {', '.join(changed)}; give its "
            "settings, or --writer.overwrite true to replace it"
        )
    return state, previous
