"""In what state a former run has left its folder, and whether a new run may begin or go on."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from patchmatch.core.errors import InputError
from patchmatch.writing.chunks import TEMPORARY_FILE, RunChunks, read_json
from patchmatch.writing.settings import differences

SUMMARY = "summary.json"


class RunState(Enum):
    """What the run of a folder is, when another one begins."""

    NEW = "new"  #: nothing is there, or what is may be replaced
    UNFINISHED = "unfinished"  #: it was stopped or killed, and is to go on
    FINISHED = "finished"  #: it has come to its end, and nothing is left to do


def require_usable(
    folder: str,
    former: Sequence[Path],
    settings: Mapping[str, Any],
    overwrite: bool,
    resume: bool,
) -> tuple[RunState, Mapping[str, Any]]:
    """Return the state of a folder in which a run is to begin or to go on, and its settings.

    Args:
        folder: The folder of the run.
        former: What a former run has left there.
        settings: As ``run_settings`` gives them, of the run that is to begin.
        overwrite: Whether a former run may be replaced.
        resume: Whether a former run is to go on.

    Raises:
        InputError: If a former run can be neither replaced nor continued.
    """
    if overwrite or all(TEMPORARY_FILE.fullmatch(path.name) for path in former):
        return RunState.NEW, settings
    then, state = RunChunks(Path(folder)).settings(), RunState.UNFINISHED
    if then is None:
        summary = Path(folder) / SUMMARY
        content = read_json(summary) if resume and summary.is_file() else {}
        then = content.get("settings") if content.get("complete") else None
        state = RunState.FINISHED
    if state is RunState.UNFINISHED and not resume:
        raise InputError(
            f"{folder}: holds a run that was stopped; give --writer.resume true to go on with it, "
            "--writer.overwrite true to replace it, or another --writer.output_path"
        )
    if then is None or not resume:
        raise InputError(
            f"{folder}: holds a former run already; give --writer.overwrite true to replace it, "
            "or another --writer.output_path"
        )
    if changed := differences(then, settings):
        raise InputError(
            f"{folder}: the run to resume had other settings: {', '.join(changed)}; give those it "
            "had, or --writer.overwrite true to replace it"
        )
    return state, then
