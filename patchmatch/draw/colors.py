"""Named colors."""

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
}


def parse_color(text: str) -> Color:
    """Parse a color.

    Args:
        text: ``#rrggbb`` or a name in ``COLORS``; case is ignored.

    Returns:
        ``(r, g, b)`` from 0 to 255.

    Raises:
        ValueError: If it is neither.
    """
    name = text.strip().lower()
    if name in COLORS:
        return COLORS[name]
    digits = name.removeprefix("#")
    if name.startswith("#") and len(digits) == 6 and set(digits) <= set("0123456789abcdef"):
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    raise ValueError(f"a color must be #rrggbb or one of {', '.join(COLORS)}, got {text!r}")
