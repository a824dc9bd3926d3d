"""If-Match, as each kind of resource reads it."""

from edgeherd_sim.hub.errors import HubError

_MISMATCH = "Precondition failed: ETag mismatch."


def bare(if_match: str) -> str:
    """Without weak mark and quotation marks: the registry accepts etags with and without."""
    return if_match.strip().removeprefix("W/").strip('"')


def demand(if_match: str | None, etag: str) -> None:
    """A delete of an identity: there must be an If-Match, and it must fit."""
    if if_match is None or not if_match.strip():
        raise HubError("PreconditionFailed", "Precondition failed: Etag missing.")
    check(if_match, etag)


def check(if_match: str | None, etag: str) -> None:
    """An If-Match, where there is one, must fit."""
    if if_match is not None and bare(if_match) not in {"*", etag}:
        raise HubError("PreconditionFailed", _MISMATCH)


def quoted(if_match: str | None) -> str | None:
    """If-Match as configurations read it: one that is neither in quotation marks nor a star is not seen at all."""
    if if_match is None or if_match.strip() == "*":
        return if_match
    text = if_match.strip().removeprefix("W/")
    return if_match if len(text) > 1 and text.startswith('"') and text.endswith('"') else None
