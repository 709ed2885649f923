"""Checking the databases of labels and image names, and what their rows stand for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError, FailedPrecondition
from contentui.stores.local.fsck_model import Finding, Kind, OpenStore, look
from contentui.stores.local.images import IMAGES, count_invalid_images
from contentui.stores.local.labels import LABELS, count_invalid_labels
from contentui.text import visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from contentui.content.model import Image
    from contentui.stores.local.database import Database


def databases(place: OpenStore) -> list[Finding]:
    """Damaged databases, and rows of sound ones that lead nowhere. Raises OSError."""
    found: list[Finding] = []
    checks = (
        (LABELS, count_invalid_labels, _orphan_labels),
        (IMAGES, count_invalid_images, _images),
    )
    for schema, bad_rows, dangling in checks:
        database = schema.below(place.ours)
        if not database.exists():
            continue
        path = f".contentui/{database.name}"
        try:
            if problem := _problem(place, database, bad_rows):
                advice = schema.advice
                found.append(Finding(Kind.DATABASE_DAMAGED, path, problem, advice=advice))
            else:
                found += dangling(place)
        except ContentError as error:
            words = visible(error.message)
            found.append(Finding(Kind.UNCHECKED, path, words, advice=error.advice))
    return found


def _problem(
    place: OpenStore, database: Database, bad_rows: Callable[[sqlite3.Connection], int]
) -> str:
    """What is wrong with a database; empty when nothing is. Raises ContentError if unknown."""
    try:
        with database.map_errors(f"checking {database.name}"):
            return database.read(
                lambda writable: _problem_within(database, bad_rows, writable=writable),
                recovers=place.is_writable,
            )
    except FailedPrecondition as error:
        return error.message


def _problem_within(
    database: Database, bad_rows: Callable[[sqlite3.Connection], int], *, writable: bool
) -> str:
    with contextlib.closing(database.connect(writable=writable)) as connection:
        rows = database.retry_while_busy(
            lambda: connection.execute("PRAGMA quick_check(1)").fetchall()
        )
        if rows != [("ok",)]:
            return visible(str(rows[0][0] if rows else "it can't be checked"), 160)
        bad = database.retry_while_busy(lambda: bad_rows(connection))
    return f"{bad} of its rows can't be read" if bad else ""


def _orphan_labels(place: OpenStore) -> list[Finding]:
    """Labels whose blob does not exist. Raises ContentError."""
    found = place.store.orphan_labels()
    if found:
        # Labels are written before their blob has its name: a look between is no finding.
        with place.settled():
            now = set(place.store.orphan_labels())
        found = [text for text in found if text in now]
    problem, repair = "it has labels, but the blob does not exist", "remove its labels"
    return [Finding(Kind.LABELS_WITHOUT_BLOB, text, problem, repair) for text in found]


def _images(place: OpenStore) -> list[Finding]:
    """Image names whose target does not exist. Raises ContentError."""
    names = place.store.images
    found = [image for image in names.list() if not _has_target(place, image)]
    if found:
        with place.settled():
            now = {image.name: image for image in names.list()}
        found = [
            image
            for image in found
            if now.get(image.name) == image and not _has_target(place, image)
        ]
    return [
        Finding(
            Kind.IMAGE_WITHOUT_BLOB,
            image.name,
            f"its target {image.target.digest} does not exist",
            advice="pull the image again, or forget the name: contentui images --remove NAME",
        )
        for image in found
    ]


def _has_target(place: OpenStore, image: Image) -> bool:
    digest = image.target.digest
    try:
        return look(f"{digest.algorithm}/{digest.encoded}", place.blobs) is not None
    except FileNotFoundError:
        return False
