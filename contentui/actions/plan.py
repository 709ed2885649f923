"""Plans: what a verb would do to which items. Pure: nothing is read, nothing happens."""

from __future__ import annotations

from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING

from contentui.actions import reasons
from contentui.actions.model import Concern, Plan, Step, Verb
from contentui.content.model import Liveness

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from contentui.actions.facts import IngestFacts
    from contentui.content.digest import Digest
    from contentui.content.model import Image, Info, Lease
    from contentui.index.model import Referrer


def plan_ingests(
    verb: Verb,
    source: str,
    facts: Iterable[IngestFacts],
    *,
    read_only_reason: str = "",
    garbage_collected: bool = False,
) -> Plan:
    """Abort ingests, or truncate them: drop their bytes and keep the ingests.

    A live writer is a concern, and a refusal for a truncation. For ``garbage_collected`` see
    `Plan`.
    """
    steps = []
    for fact in _once(facts):
        refusal = read_only_reason
        if verb is Verb.TRUNCATE:
            refusal = refusal or reasons.truncate_refusal(fact)
        status, concerns = fact.status, _writer_concerns(fact)
        steps.append(
            Step(verb, status, status.offset, fact.holder, concerns=concerns, refusal=refusal)
        )
    return Plan(verb, source, tuple(steps), garbage_collected)


def _once(facts: Iterable[IngestFacts]) -> Iterable[IngestFacts]:
    """Each ingest once, however often it was named."""
    return {fact.status.id: fact for fact in facts}.values()


def _writer_concerns(facts: IngestFacts) -> frozenset[Concern]:
    found = set()
    if facts.liveness is Liveness.HELD:
        found.add(Concern.LIVE_WRITER)
    if facts.liveness is Liveness.UNKNOWN:
        found.add(Concern.HOLDER_UNKNOWN)
    if facts.moving:
        found.add(Concern.MOVING)
    return frozenset(found)


def plan_delete(
    source: str,
    infos: Iterable[Info],
    referrers: Callable[[Digest], tuple[Referrer, ...] | None],
    *,
    certain: Callable[[Digest], bool] | None = None,
    unreferenced: Mapping[Digest, tuple[Info, ...]] | None = None,
    involved: Collection[Digest] | None = None,
    bound: str = "",
    read_only_reason: str = "",
    garbage_collected: bool = False,
) -> Plan:
    """Delete blobs, those first that need others of the same plan.

    Blobs of the same plan don't count as referrers. ``referrers`` returns None for an unknown
    result; ``certain`` returns whether a result is complete (None: each is). Both as
    `all_referrers` of `contentui.index.content_index.ContentIndex` returns them; ``unreferenced``
    and ``bound`` for each blob as in `Step`. ``involved``: the only blobs that have referrers,
    unknown ones or an ``unreferenced`` entry (None: any may), as very many mostly have none.
    """
    chosen = {info.digest: info for info in infos}
    steps: dict[Digest, Step] = {}
    if involved is not None:
        sizes = map(attrgetter("size"), chosen.values())
        equal: tuple[object, ...] = (None, (), (), (), (), bound, frozenset(), "")
        constant = map(repeat, equal)
        alone = zip(repeat(Verb.DELETE), chosen.values(), sizes, *constant, strict=False)
        steps = dict(zip(chosen, map(Step._make, alone), strict=True))
    for digest in chosen if involved is None else involved:
        found = referrers(digest)
        steps[digest] = _delete_step(
            chosen[digest],
            chosen,
            found,
            known=found is not None and (certain is None or certain(digest)),
            unreferenced=(unreferenced or {}).get(digest, ()),
            bound=bound,
            garbage_collected=garbage_collected,
        )
    if read_only_reason:
        ordered = tuple(_refused(steps, read_only_reason))
    else:
        ordered = tuple(steps[digest] for digest in _parents_first(steps))
    return Plan(Verb.DELETE, source, ordered, garbage_collected)


def _refused(steps: Mapping[Digest, Step], reason: str) -> Iterable[Step]:
    return (step._replace(refusal=reason) for step in steps.values())


def _delete_step(
    info: Info,
    chosen: Mapping[Digest, Info],
    found: tuple[Referrer, ...] | None,
    *,
    known: bool,
    unreferenced: tuple[Info, ...],
    bound: str,
    garbage_collected: bool,
) -> Step:
    """The plan for one blob among the ``chosen`` ones."""
    remaining = tuple(referrer for referrer in found or () if referrer.digest not in chosen)
    freed_by = dict.fromkeys(
        referrer.digest
        for referrer in found or ()
        if referrer.digest is not None
        and referrer.digest in chosen
        and referrer.digest != info.digest
    )
    concerns = set()
    if remaining:
        concerns.add(Concern.REFERENCED)
    if not known:
        concerns.add(Concern.REFERRERS_UNKNOWN)
    collected = unreferenced if garbage_collected else ()
    if collected:
        concerns.add(Concern.COLLECTED)
    return Step(
        Verb.DELETE,
        info,
        info.size + sum(each.size for each in collected),
        referrers=remaining if remaining or known else None,
        freed_by=tuple(freed_by),
        unreferenced=unreferenced,
        bound=bound,
        concerns=frozenset(concerns),
    )


def plan_untag(
    source: str,
    unreferenced: Iterable[tuple[Image, tuple[Info, ...]]],
    *,
    bound: str = "",
    read_only_reason: str = "",
    garbage_collected: bool = False,
) -> Plan:
    """Remove names of images, each with the blobs to which nothing refers afterwards.

    A directory keeps those blobs. The garbage collector of a daemon deletes them. For ``bound``
    see `Step`.
    """
    steps = tuple(
        Step(
            Verb.UNTAG,
            image,
            sum(info.size for info in blobs) if garbage_collected else 0,
            unreferenced=blobs,
            bound=bound,
            refusal=read_only_reason,
        )
        for image, blobs in unreferenced
    )
    return Plan(Verb.UNTAG, source, steps, garbage_collected)


def plan_release(
    source: str,
    unreferenced: Iterable[tuple[Lease, tuple[Info, ...], Iterable[IngestFacts]]],
    *,
    bound: str = "",
    read_only_reason: str = "",
    garbage_collected: bool = False,
) -> Plan:
    """Delete leases, each with the blobs and ingests that only it keeps.

    Whether the client that made a lease still needs it is unknown, which is a concern. For
    ``bound`` see `Step`; where a lease keeps more than content it is at least.
    """
    steps = []
    for lease, blobs, ingests in unreferenced:
        facts = tuple(ingests)
        concerns = {Concern.HOLDER_UNKNOWN}.union(*map(_writer_concerns, facts))
        if Concern.LIVE_WRITER in concerns:
            concerns.discard(Concern.HOLDER_UNKNOWN)
        if blobs or facts:
            concerns.add(Concern.COLLECTED)
        lost = sum(info.size for info in blobs) + sum(fact.status.offset for fact in facts)
        steps.append(
            Step(
                Verb.RELEASE,
                lease,
                lost,
                next((fact.holder for fact in facts if fact.holder is not None), None),
                unreferenced=blobs,
                ingests=tuple(fact.status for fact in facts),
                bound=bound or ("at least" if lease.others else ""),
                concerns=frozenset(concerns),
                refusal=read_only_reason,
            )
        )
    return Plan(Verb.RELEASE, source, tuple(steps), garbage_collected)


def _parents_first(steps: Mapping[Digest, Step]) -> list[Digest]:
    """The steps' digests such that what needs a blob goes before it, as far as that can be.

    Blobs that need each other in a circle come one after the other, in some order.
    """
    if not any(map(attrgetter("freed_by"), steps.values())):
        return list(steps)
    order: dict[Digest, None] = {}
    for start, step in steps.items():
        if not step.freed_by:
            order.setdefault(start)
            continue
        trail = [(start, iter(steps[start].freed_by))]
        entered = {start}
        while trail:
            digest, parents = trail[-1]
            parent = next(
                (each for each in parents if each not in order and each not in entered), None
            )
            if parent is None:
                order.setdefault(digest)
                trail.pop()
            else:
                entered.add(parent)
                trail.append((parent, iter(steps[parent].freed_by)))
    return list(order)
