"""Which part of an image is pushed: all of it, or the manifest of one platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import ContentError, FailedPrecondition, InvalidArgument, NotFound
from contentui.oci.documents import MAX_DEPTH, MAX_MANIFESTS, Child
from contentui.oci.platforms import Platform, match
from contentui.oci.stored import read_document, read_manifest, size_of
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.oci.documents import Manifest

_MOST_NAMED = 8
"""Platforms that a message lists."""


class Choice(NamedTuple):
    """What is pushed under the destination's name."""

    root: Child
    is_index: bool
    platform: Platform | None = None
    """Of a manifest; None: unknown."""
    note: str = ""
    """Why it is not all of the image; safe to print."""


def choose_root(
    store: Store, root: Descriptor, wanted: Platform | None, in_registry: Callable[[Digest], bool]
) -> Choice:
    """The index if all its platforms are in the store or the registry; else the only one here.

    Attestations, which are for no platform, are not required. ``wanted``: the manifest for this
    platform. ``in_registry``: whether the registry has a manifest.

    Raises:
        NotFound: no platform, or not the wanted one, is in the store with all its parts.
        InvalidArgument: several are, but not all: one must be named.
    """
    _, manifest = read_manifest(store, root.digest, root.media_type)
    if not manifest.is_index:
        return _single(store, Child(root, "manifest"), manifest, wanted)
    entries = [each for each in manifest.children if not is_attestation(each)]
    if wanted is not None:
        return _for_platform(store, entries, wanted)
    known: dict[Digest, bool] = {}
    here: list[Child] = []
    absent: list[Child] = []
    for each in entries:
        (here if is_whole(store, each, known) else absent).append(each)
    if all(in_registry(each.descriptor.digest) for each in absent):
        return Choice(Child(root, "manifest"), is_index=True)
    if len(here) == 1:
        chosen = here[0]
        others = _names(absent)
        return Choice(
            chosen,
            is_index=False,
            platform=chosen.platform,
            note=f"only {_name(chosen)} is here, without {others}: its manifest is pushed,"
            f" {chosen.descriptor.digest}",
        )
    if not here:
        raise NotFound(
            f"no platform of {root.digest.short()} is here with all its parts",
            advice="pull it again, or check it with 'contentui images'",
        )
    raise InvalidArgument(
        f"{_names(here)} are here, without {_names(absent)}: an index can't be pushed in part",
        advice="push one of them with --platform, or pull with --all-platforms first",
    )


def lost_platforms(there: Manifest, pushed: Platform | None) -> list[str]:
    """Platforms of the index ``there`` that a manifest in its place doesn't have."""
    return [
        _name(each)
        for each in there.children
        if not is_attestation(each)
        and (pushed is None or each.platform is None or match(pushed, each.platform) != 0)
    ]


def _for_platform(store: Store, entries: Sequence[Child], wanted: Platform) -> Choice:
    found = [
        (distance, number, each)
        for number, each in enumerate(entries)
        if each.platform is not None and (distance := match(wanted, each.platform)) is not None
    ]
    if not found:
        raise NotFound(f"the image has no {wanted}", advice=f"it has {_names(entries) or 'none'}")
    chosen = min(found)[2]
    if not is_whole(store, chosen, {}):
        raise NotFound(
            f"{_name(chosen)} of the image is not here with all its parts",
            advice=f"get it with 'contentui pull --platform {wanted}'",
        )
    return Choice(chosen, is_index=False, platform=chosen.platform)


def _single(store: Store, root: Child, manifest: Manifest, wanted: Platform | None) -> Choice:
    platform = _config_platform(store, manifest)
    if wanted is not None and platform is not None and match(wanted, platform) is None:
        raise NotFound(
            f"the image is for {visible(str(platform), 100)}, not for {wanted}",
            advice="it has one manifest, and no index of platforms",
        )
    return Choice(root, is_index=False, platform=platform)


def _config_platform(store: Store, manifest: Manifest) -> Platform | None:
    """The platform in a manifest's config; None: it is not that of an image, or not here."""
    config = next((each for each in manifest.children if each.role == "config"), None)
    if config is None:
        return None
    try:
        found = json.loads(read_document(store, config.descriptor.digest))
        parts = [found[key] for key in ("os", "architecture")] + [found.get("variant", "")]
    except (ContentError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Platform(*parts) if all(isinstance(part, str) for part in parts) else None


def is_attestation(child: Child) -> bool:
    """BuildKit gives its attestations the platform ``unknown/unknown``: they are for none."""
    return child.platform is not None and child.platform.os == "unknown"


def is_whole(store: Store, child: Child, known: dict[Digest, bool], depth: int = 0) -> bool:
    """Whether a manifest and all that is distributed with it are in the store.

    ``known`` keeps the results, as an image may list a manifest any number of times.

    Raises FailedPrecondition: it has more than `MAX_MANIFESTS` manifests.
    """
    digest = child.descriptor.digest
    if not child.may_have_children:
        return child.is_nondistributable or child.data is not None or _has(store, digest)
    if digest not in known:
        if len(known) >= MAX_MANIFESTS:
            raise FailedPrecondition(f"invalid image: it has more than {MAX_MANIFESTS} manifests")
        known[digest] = False  # until it is looked into
        known[digest] = (
            depth <= MAX_DEPTH
            and _has(store, digest)
            and all(
                is_whole(store, each, known, depth + 1)
                for each in read_manifest(store, digest, child.descriptor.media_type)[1].children
                if not is_attestation(each)
            )
        )
    return known[digest]


def _has(store: Store, digest: Digest) -> bool:
    return size_of(store, digest) is not None


def _name(child: Child) -> str:
    return visible(str(child.platform), 60) if child.platform else child.descriptor.digest.short()


def _names(children: Sequence[Child]) -> str:
    names = [_name(each) for each in children]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
