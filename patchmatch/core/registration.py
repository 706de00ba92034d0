"""Registration by subclassing: a base class finds all its imported subclasses."""

from collections.abc import Iterator


def subclasses(base: type) -> Iterator[type]:
    """Yield ``base`` and its direct and indirect subclasses imported so far."""
    kinds = [base]
    for kind in kinds:  # grows while it is read
        kinds += kind.__subclasses__()
        yield kind
