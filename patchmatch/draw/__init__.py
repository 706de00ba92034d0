"""Results on images: boxes, arrows, flow colors, montages. Each returns a new uint8 picture."""

from patchmatch.draw.arrows import draw_arrows
from patchmatch.draw.boxes import draw_boxes
from patchmatch.draw.colors import COLORS, Color, parse_color
from patchmatch.draw.flow import color_wheel, draw_flow, flow_colors, robust_max_flow
from patchmatch.draw.heat import draw_heat
from patchmatch.draw.montage import difference_picture, montage

__all__ = [
    "COLORS",
    "Color",
    "color_wheel",
    "difference_picture",
    "draw_arrows",
    "draw_boxes",
    "draw_flow",
    "draw_heat",
    "flow_colors",
    "montage",
    "parse_color",
    "robust_max_flow",
]
