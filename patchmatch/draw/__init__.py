"""Drawing of results on images. Every function returns a new uint8 array."""

from patchmatch.draw.arrows import draw_arrows
from patchmatch.draw.boxes import draw_boxes
from patchmatch.draw.colors import COLORS, Color, parse_color
from patchmatch.draw.cost import cost_colors, draw_cost, robust_max_cost
from patchmatch.draw.epipolar import draw_epipolar_lines
from patchmatch.draw.flow import color_wheel, draw_flow, flow_colors, robust_max_flow
from patchmatch.draw.heat import draw_heat
from patchmatch.draw.matches import (
    draw_checkerboard,
    draw_matches,
    draw_panorama,
    warp_image,
)
from patchmatch.draw.montage import difference_image, montage, shrink_to_fit, tensor_to_uint8
from patchmatch.draw.polygons import draw_polygons

__all__ = [
    "COLORS",
    "Color",
    "color_wheel",
    "cost_colors",
    "difference_image",
    "draw_arrows",
    "draw_boxes",
    "draw_checkerboard",
    "draw_cost",
    "draw_epipolar_lines",
    "draw_flow",
    "draw_heat",
    "draw_matches",
    "draw_panorama",
    "draw_polygons",
    "flow_colors",
    "montage",
    "parse_color",
    "robust_max_cost",
    "robust_max_flow",
    "shrink_to_fit",
    "tensor_to_uint8",
    "warp_image",
]
