"""What results of matchers have in common."""

from dataclasses import fields

from torch import Tensor

LONGEST = 9  # values of a tensor that are printed: those of a homography


class Result:
    """Base of result dataclasses (``repr=False``) that print the shapes of large tensors."""

    def __repr__(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self)}  # pyright: ignore[reportArgumentType]
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in values.items())
        return f"{type(self).__name__}({shown})"


def _shown(value: object) -> str:
    if isinstance(value, Tensor) and value.numel() > LONGEST:
        return str(tuple(value.shape))
    return " ".join(str(value).split()) if isinstance(value, Tensor) else repr(value)
