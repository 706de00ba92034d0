"""Export of keypoints and matches to a database of COLMAP, and to the text files it imports."""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from patchmatch.io import atomic_path, write_text_atomic
from patchmatch.pairs.exports import (
    ImageFeatures,
    PairMatches,
    Paths,
    collect_matches,
    fits_lists,
    names_from_common_folder,
    paths_of,
    require_exportable_names,
)
from patchmatch.writing.chunks import Row

CORNER = 0.5  # COLMAP's origin is the corner of the top-left pixel, ours is its centre
DATABASE = "database.db"
MATCH_LIST = "matches.txt"
DESCRIPTOR = " 0" * 128  # required by the importer of text files, not used with given matches
LONGEST_NAME = 251  # bytes of a name to which .txt is appended; a file name has at most 255
MAX_IMAGES = 2_147_483_647  # pair_id = MAX_IMAGES * image_id1 + image_id2, with image_id1 smaller
SIMPLE_RADIAL = 2  # camera model: focal length, center, one coefficient of distortion
FOCAL = 1.2  # of the longest side, COLMAP's guess of the focal length
OPTION = "--writer.colmap true"

# The tables that COLMAP documents; newer versions add theirs when they open the file.
SCHEMA = f"""
CREATE TABLE cameras (
    camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, params BLOB,
    prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (
    image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE,
    camera_id INTEGER NOT NULL,
    CONSTRAINT image_id_check CHECK(image_id >= 0 and image_id < {MAX_IMAGES}),
    FOREIGN KEY(camera_id) REFERENCES cameras(camera_id));
CREATE UNIQUE INDEX index_name ON images(name);
CREATE TABLE keypoints (
    image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE descriptors (
    image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE matches (
    pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB);
CREATE TABLE two_view_geometries (
    pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    config INTEGER NOT NULL, F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB);
"""


def write_colmap(folder: Path, pairs: Path, files: Sequence[Row]) -> None:
    """Write database.db with the keypoints of all images and the matches of all pairs.

    The same is written as text, {image}.txt and matches.txt, for ``colmap feature_importer
    --import_path FOLDER`` and ``colmap matches_importer --match_list_path FOLDER/matches.txt
    --match_type raw``, unless such files cannot contain the name of an image.

    Images are named relative to their common folder, which is COLMAP's image_path. Keypoints are in
    pixels of the stored image, without its EXIF orientation, which COLMAP does not apply. Each
    image has a camera of its own, SIMPLE_RADIAL with a guess of the focal length. The matches are
    not verified: COLMAP's geometric_verifier comes next, then its mapper.

    Args:
        folder: Folder to write to.
        pairs: Folder with the matches.npz of each pair, in a subfolder of its name.
        files: ``name``, and the paths ``image0`` and ``image1``, of each pair.

    Raises:
        InputError: If the database cannot contain the name of an image.
    """
    require_colmap_names(paths_of(files))
    features, found = collect_matches(pairs, files)
    _write_database(folder / DATABASE, features, found)
    if has_text_files(features):
        _write_text_files(folder, features, found)


def _write_database(file: Path, features: Mapping[str, ImageFeatures], found: PairMatches) -> None:
    ids = {name: i for i, name in enumerate(features, start=1)}
    with atomic_path(file) as path, closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")  # the file is renamed once it is complete
        database.executescript(SCHEMA)
        for name, image in features.items():
            height, width = image.size
            focal = FOCAL * max(height, width)
            camera = np.array([focal, width / 2, height / 2, 0.0])
            values = (ids[name], SIMPLE_RADIAL, width, height, camera.tobytes(), 0)
            database.execute("INSERT INTO cameras VALUES (?, ?, ?, ?, ?, ?)", values)
            database.execute("INSERT INTO images VALUES (?, ?, ?)", (ids[name], name, ids[name]))
            points = np.array(list(image.index), np.float32).reshape(-1, 2) + np.float32(CORNER)
            values = (ids[name], *points.shape, points.tobytes())
            database.execute("INSERT INTO keypoints VALUES (?, ?, ?, ?)", values)
        for (name0, name1), matches in found.items():
            if name0 == name1:
                continue  # COLMAP has no pairs of an image with itself
            indices = np.array(list(matches), np.uint32).reshape(-1, 2)
            id0, id1 = ids[name0], ids[name1]
            if id0 > id1:
                id0, id1, indices = id1, id0, np.ascontiguousarray(indices[:, ::-1])
            values = (MAX_IMAGES * id0 + id1, *indices.shape, indices.tobytes())
            database.execute("INSERT INTO matches VALUES (?, ?, ?, ?)", values)
        database.commit()


def _write_text_files(
    folder: Path, features: Mapping[str, ImageFeatures], found: PairMatches
) -> None:
    blocks = []
    for (name0, name1), matches in found.items():
        lines = [f"{i} {j}" for i, j in matches]
        blocks.append("\n".join([f"{name0} {name1}", *lines, ""]))
    write_text_atomic(folder / MATCH_LIST, "\n".join(blocks) + "\n")
    for name, image in features.items():
        rows = [f"{x + CORNER:.3f} {y + CORNER:.3f} 1 0{DESCRIPTOR}" for x, y in image.index]
        text = "\n".join([f"{len(rows)} 128", *rows, ""])
        write_text_atomic(folder / f"{name}.txt", text)


def has_text_files(names: Iterable[str]) -> bool:
    """Return whether text files can contain the names of images, relative to a common folder.

    A list of pairs separates names by blanks; ``name.txt`` must be a file name, and not one that
    the export has itself.
    """
    own = {MATCH_LIST, DATABASE}
    return all(
        fits_lists(name)
        and f"{name}.txt".casefold().split("/")[0] not in own
        and len(os.fsencode(Path(name).name)) <= LONGEST_NAME
        for name in names
    )


def colmap_files(pairs: Sequence[Paths]) -> list[str]:
    """Return the names of the files that ``write_colmap`` writes for pairs of images."""
    names = sorted(set(names_from_common_folder(pairs).values())) if pairs else []
    texts = [MATCH_LIST, *(f"{name}.txt" for name in names)] if has_text_files(names) else []
    return [DATABASE, *texts]


def require_colmap_names(pairs: Iterable[Paths]) -> None:
    """Raise InputError if a database cannot contain the name of an image."""
    require_exportable_names(names_from_common_folder(pairs), OPTION)
