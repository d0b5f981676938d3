"""Who is alive and who leads: gateway workers' leases, the barrier's laggards, the reconciler's epoch.

Decides on rows alone, inside one transaction. Refuses to wait: :mod:`state.store.rowstore` does, and says
when a worker's progress is worth a write.
"""

from dataclasses import replace

from state.store.errors import Conflict, NotFound, StoreError
from state.store.port import Presence
from state.store.rows import LeaderRow, LeaseRow, Rows

EPOCH_MAX = 1 << 62  # what rows hold, with room for whoever leads next


def announce(rows: Rows, worker: str, ttl_s: float) -> None:
    """A new lease, with nothing applied yet: barriers wait for this worker from now on."""
    rows.put_lease(LeaseRow(worker, expires_s=rows.clock_s() + ttl_s))


def renew(rows: Rows, worker: str, ttl_s: float, applied_revision: int) -> None:
    """Raises NotFound where the lease ran out: barriers have passed this worker by."""
    lease = _live(rows).get(worker)
    if lease is None:
        rows.drop_lease(worker)
        raise NotFound(f"the lease of worker {worker} ran out; drop what it has read and join again")
    acknowledged = max(lease.acknowledged_revision, applied_revision)
    rows.put_lease(LeaseRow(worker, rows.clock_s() + ttl_s, acknowledged))


def acknowledge(rows: Rows, worker: str, applied_revision: int) -> None:
    """Put on record what ``worker`` has applied. Raises NotFound where its lease ran out."""
    lease = _live(rows).get(worker)
    if lease is None:
        raise NotFound(f"the lease of worker {worker} ran out; drop what it has read and join again")
    if applied_revision > lease.acknowledged_revision:
        rows.put_lease(replace(lease, acknowledged_revision=applied_revision))


def want(rows: Rows, revision: int) -> None:
    """Ask the workers to put on record that they have applied ``revision``."""
    counter = rows.counter()
    if revision > counter.barrier_revision:
        rows.put_counter(replace(counter, barrier_revision=revision))
    for lease in _expired(rows):
        rows.drop_lease(lease.worker)


def laggards(rows: Rows, revision: int) -> dict[str, float]:
    """The live workers that have not applied ``revision``, each with the seconds its lease has left."""
    now_s = rows.clock_s()
    return {
        lease.worker: lease.expires_s - now_s
        for lease in _live(rows).values()
        if lease.acknowledged_revision < revision
    }


def lead(rows: Rows, holder: str, ttl_s: float, held_epoch: int | None, epoch_min: int) -> int:
    """Take or renew the leadership; the epoch that ``holder`` now has.

    ``held_epoch`` is what this very process was given before. Only that, while its lease lives, is
    renewed; whoever else comes by the same name is somebody else, and a lapsed one starts over.
    Raises Conflict where somebody else leads, StoreError for an epoch that nobody can have come to.
    """
    leader, now_s = rows.leader(), rows.clock_s()
    lives = leader.holder != "" and leader.expires_s > now_s
    is_ours = leader.holder == holder and leader.epoch == held_epoch
    if lives and not is_ours:
        left_s = leader.expires_s - now_s
        raise Conflict(
            f"{leader.holder} leads with epoch {leader.epoch} for {left_s:.1f} s more; wait for it"
        )
    epoch = max(leader.epoch if lives else leader.epoch + 1, epoch_min)
    if epoch > EPOCH_MAX:
        raise StoreError(
            f"the store asks for an epoch over {EPOCH_MAX}: it is damaged, or somebody tampered with it; "
            "put back a backup of it, or move it away: users are found by their data"
        )
    rows.put_leader(LeaderRow(holder, epoch, now_s + ttl_s))
    return epoch


def presence(rows: Rows) -> Presence:
    leader = rows.leader()
    lives = leader.expires_s > rows.clock_s()
    return Presence(tuple(sorted(_live(rows))), leader.holder if lives else "")


def resign(rows: Rows, holder: str, held_epoch: int | None) -> None:
    """Give up the leadership if it is still ours; the epoch stays, the next holder gets the next one."""
    leader = rows.leader()
    if leader.holder == holder and leader.epoch == held_epoch:
        rows.put_leader(LeaderRow(holder="", epoch=leader.epoch))


def _live(rows: Rows) -> dict[str, LeaseRow]:
    now_s = rows.clock_s()
    return {lease.worker: lease for lease in rows.leases() if lease.expires_s > now_s}


def _expired(rows: Rows) -> list[LeaseRow]:
    now_s = rows.clock_s()
    return [lease for lease in rows.leases() if lease.expires_s <= now_s]
