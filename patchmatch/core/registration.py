"""Classes register by subclassing: a base class knows every subclass that was imported."""

from collections.abc import Iterator


def subclasses(base: type) -> Iterator[type]:
    """Yield ``base`` and all of its direct and indirect subclasses that were imported so far."""
    kinds = [base]
    for kind in kinds:  # grows by the subclasses of each
        kinds += kind.__subclasses__()
        yield kind
