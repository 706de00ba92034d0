"""Files: images, frames, videos, flow and tables; one reader and one writer per format."""

from patchmatch.io.ahead import read_ahead
from patchmatch.io.atomic import (
    atomic_path,
    require_writable_folder,
    write_bytes_atomic,
    write_text_atomic,
)
from patchmatch.io.files import read_bytes
from patchmatch.io.flow import read_flo, write_flo, write_flow_png
from patchmatch.io.frames import FolderSequence, FrameSequence
from patchmatch.io.images import (
    IMAGE_SUFFIXES,
    pil_opacity,
    pil_to_array,
    read_image,
    read_image_and_opacity,
    read_image_size,
    read_opacity,
    read_orientation,
    stretch_window,
    to_float,
    to_gray_float,
    to_mask,
    to_rgb_uint8,
    write_image,
)
from patchmatch.io.live import LiveSequence, is_live
from patchmatch.io.order import natural_key
from patchmatch.io.sequences import FoundSequences, find_sequences
from patchmatch.io.tables import read_csv, write_csv
from patchmatch.io.video_writing import write_video
from patchmatch.io.videos import VIDEO_SUFFIXES, VideoSequence

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "FolderSequence",
    "FoundSequences",
    "FrameSequence",
    "LiveSequence",
    "VideoSequence",
    "atomic_path",
    "find_sequences",
    "is_live",
    "natural_key",
    "pil_opacity",
    "pil_to_array",
    "read_ahead",
    "read_bytes",
    "read_csv",
    "read_flo",
    "read_image",
    "read_image_and_opacity",
    "read_image_size",
    "read_opacity",
    "read_orientation",
    "require_writable_folder",
    "stretch_window",
    "to_float",
    "to_gray_float",
    "to_mask",
    "to_rgb_uint8",
    "write_bytes_atomic",
    "write_csv",
    "write_flo",
    "write_flow_png",
    "write_image",
    "write_text_atomic",
    "write_video",
]
