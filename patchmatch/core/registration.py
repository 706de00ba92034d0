"""Registration by subclassing: a base class finds all its imported subclasses and their options."""

import inspect
from collections.abc import Iterator


def subclasses(base: type) -> Iterator[type]:
    """Yield ``base`` and its direct and indirect subclasses imported so far."""
    kinds = [base]
    for kind in kinds:  # grows while it is read
        kinds += kind.__subclasses__()
        yield kind


def constructor_options(kind: type) -> dict[str, inspect.Parameter]:
    """Return the options of a class by name; its own come first.

    A constructor with ``**options`` passes these on, so the options of the next base are included.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base).parameters.values()
        variable = [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        for parameter in parameters:
            if parameter not in variable:
                found.setdefault(parameter.name, parameter)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in variable):
            break
    return found
