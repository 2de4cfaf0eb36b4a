"""What every Store keeps to, whatever stands behind it: the tests of the real one and of any model of it.

A module of tests subclasses `StoreConformance` and provides the fixture `store`: an empty store whose uploads go to
a container of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from dataclasses import replace

import pytest

from slowboat.core.capabilities import Capabilities, judge
from slowboat.core.errors import Refused, SourceAbsent, Transient

DATA = random.Random(7).randbytes(100_000)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Pieces:
    """A Reader that gives `data` in uneven pieces, then raises or ends."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self._data, self._at, self._error = data, 0, error

    def readinto(self, buffer: memoryview, /) -> int:
        piece = self._data[self._at : self._at + max(1, min(len(buffer), 7001))]
        self._at += len(piece)
        if not piece and self._error:
            raise self._error
        buffer[: len(piece)] = piece
        return len(piece)


class StoreConformance:
    """Promises of `engine.ports.Store`; those that hang on what a server can do, of a server that can do `can`."""

    can = Capabilities(guards=True, checks_md5=True, segments=True, slo=True, checks_slo=True, joins=True)
    lists_slos = True
    checks_parts = True

    async def slo_of(self, store, name: str, parts, **how):
        return await store.put_slo(name, parts, checked=bool(self.can.checks_slo), **how)

    async def joined(self, store, source: str, name: str, data: bytes) -> None:
        """A copy where the server joins; where it does not, it is refused, and the right bytes are not there."""
        if self.can.joins:
            await store.copy(source, name, etag=md5(data))
            return
        with pytest.raises(Refused) as refused:
            await store.copy(source, name, etag=md5(data))
        assert refused.value.code in {"mismatch", "slo-copied", "bad-request"}
        found = await store.head(name)
        assert found is None or found.md5 != md5(data)

    async def parts_of(self, store, stem: str, *pieces: bytes):
        return [
            await store.put(f"{stem}/{number}", piece, len(piece), segments=True, expires_after=3600)
            for number, piece in enumerate(pieces)
        ]

    async def test_where_nothing_is_nothing_is_found(self, store):
        assert tuple(await store.listing("")) == ()
        assert tuple(await store.listing("", segments=True)) == ()
        assert await store.head("nothing") is None
        assert await store.head("nothing", segments=True) is None

    async def test_what_was_put_is_there(self, store):
        told = []
        made = await store.put("p/one", DATA, len(DATA), etag=md5(DATA), progress=told.append)
        assert (made.name, made.size, made.md5, made.slo) == ("p/one", len(DATA), md5(DATA), False)
        assert sum(told) == len(DATA)
        found = await store.head("p/one")
        assert (found.size, found.md5, found.slo, found.expires) == (len(DATA), md5(DATA), False, None)
        assert abs(found.modified - time.time()) < 600
        (listed,) = await store.listing("p/")
        assert (listed.name, listed.size, listed.md5, listed.slo) == ("p/one", len(DATA), md5(DATA), False)
        assert abs(listed.modified - time.time()) < 600
        assert tuple(await store.listing("q/")) == ()
        assert await store.head("p/one", segments=True) is None

    async def test_a_reader_is_read_to_its_size(self, store):
        made = await store.put("read", Pieces(DATA), len(DATA), etag=md5(DATA))
        assert made.md5 == md5(DATA)

    async def test_nothing_but_bytes_is_fine_too(self, store):
        assert (await store.put("empty", b"", 0)).md5 == md5(b"")
        assert (await store.head("empty")).size == 0

    @pytest.mark.parametrize("name", ["a b%20c?d#e&f", "ümläut/ß/日本", "x" * 200, "trailing.", "..a", "a//b"])
    async def test_names_go_there_and_back(self, store, name):
        await store.put(name, b"n", 1)
        assert (await store.head(name)).name == name
        assert [each.name for each in await store.listing(name)] == [name]
        await store.put(name, b"n", 1, segments=True)
        await store.delete([name])
        assert await store.head(name, segments=True) is None

    @pytest.mark.parametrize("name", ["bad\udc80name", "", "..", "a/../b", "a/./b"])
    async def test_a_name_that_would_not_arrive_is_refused(self, store, name):
        with pytest.raises(Refused) as refused:
            await store.put(name, b"n", 1)
        assert refused.value.code == "bad-name"

    async def test_nothing_is_overwritten_at_the_target(self, store):
        await store.put("final", b"first", 5)
        if not self.can.guards:  # it is: whoever sends must look before
            await store.put("final", b"other", 5)
            assert (await store.head("final")).md5 == md5(b"other")
            return
        with pytest.raises(Refused) as refused:
            await store.put("final", b"other", 5)
        assert refused.value.code == "exists"
        assert (await store.head("final")).md5 == md5(b"first")

    async def test_a_segment_may_be_sent_again(self, store):
        await store.put("seg", b"first", 5, segments=True)
        await store.put("seg", b"other", 5, segments=True)
        assert (await store.head("seg", segments=True)).md5 == md5(b"other")

    async def test_bytes_with_another_checksum_are_not_stored(self, store):
        with pytest.raises(Transient) as failed:
            await store.put("wrong", DATA, len(DATA), etag="0" * 32)
        assert (failed.value.code, failed.value.scope) == ("mismatch", "object")
        assert await store.head("wrong") is None

    async def test_a_body_that_ends_early_is_not_stored(self, store):
        with pytest.raises(Refused) as refused:
            await store.put("short", Pieces(DATA[:-1]), len(DATA))
        assert refused.value.code == "short"
        assert await store.head("short") is None

    @pytest.mark.parametrize("error", [SourceAbsent("the drive went away"), OSError(5, "Input/output error")])
    async def test_what_the_reader_raises_comes_out_untouched(self, store, error):
        with pytest.raises(type(error)) as raised:
            await store.put("torn", Pieces(DATA[:70_000], error), len(DATA))
        assert raised.value is error
        assert await store.head("torn") is None

    async def test_segments_expire_and_can_be_renewed(self, store):
        made = await store.put("seg", b"s", 1, segments=True, expires_after=3600)
        found = await store.head("seg", segments=True)
        assert abs(found.expires - time.time() - 3600) < 60
        assert abs(made.expires - found.expires) < 60
        await store.renew("seg", 7200)
        assert abs((await store.head("seg", segments=True)).expires - time.time() - 7200) < 60

    async def test_a_segment_that_is_sent_again_without_an_expiry_has_none(self, store):
        await store.put("seg", b"s", 1, segments=True, expires_after=3600)
        await store.put("seg", b"s", 1, segments=True)
        assert (await store.head("seg", segments=True)).expires is None

    async def test_renewing_what_is_gone_says_so(self, store):
        await store.put("seg", b"s", 1, segments=True)
        with pytest.raises(Transient) as failed:
            await store.renew("gone", 7200)
        assert (failed.value.code, failed.value.scope) == ("segments-gone", "object")

    async def test_segments_become_one_plain_object(self, store):
        parts = await self.parts_of(store, "up", DATA[:60_000], DATA[60_000:])
        slo = await self.slo_of(store, "up/slo", parts)
        assert (slo.size, slo.slo) == (len(DATA), True)
        assert slo.md5 == md5("".join(part.md5 for part in parts).encode())
        found = await store.head("up/slo", segments=True)
        assert (found.slo, found.size, found.md5, found.expires) == (True, len(DATA), slo.md5, None)
        await self.joined(store, "up/slo", "whole", DATA)
        await store.delete(["up/0", "up/1", "up/slo"])
        assert tuple(await store.listing("up/", segments=True)) == ()
        if self.can.joins:
            found = await store.head("whole")
            assert (found.md5, found.size, found.slo, found.expires) == (md5(DATA), len(DATA), False, None)

    async def test_an_slo_that_expires_makes_a_copy_that_does_not(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10, b"b" * 10)
        await self.slo_of(store, "up/slo", parts, expires_after=3600)
        assert abs((await store.head("up/slo", segments=True)).expires - time.time() - 3600) < 60
        await self.joined(store, "up/slo", "whole", b"a" * 10 + b"b" * 10)
        found = await store.head("whole")
        assert found is None or found.expires is None

    async def test_an_slo_whose_etag_is_told_is_made_only_where_that_is_checked(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10)
        if self.can.checks_slo:
            await store.put_slo("there", parts, segments=False, checked=True)
            return
        with pytest.raises(Transient) as failed:
            await store.put_slo("there", parts, segments=False, checked=True)
        assert (failed.value.code, failed.value.scope) == ("mismatch", "object")
        assert await store.head("there") is None

    async def test_an_slo_in_a_listing_says_so(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10, b"b" * 10)
        slo = await self.slo_of(store, "there", parts, segments=False)
        (listed,) = await store.listing("")
        if not self.lists_slos:  # as an object of its list's length: HEAD tells
            assert (listed.name, listed.slo) == ("there", False)
            assert listed.md5 != slo.md5
            listed = await store.head("there")
        assert (listed.name, listed.size, listed.slo, listed.md5) == ("there", 20, True, slo.md5)

    async def test_an_slo_does_not_overwrite_at_the_target(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10)
        await store.put("there", b"first", 5)
        if not self.can.guards:  # it does: whoever sends must look before
            return
        with pytest.raises(Refused) as refused:
            await self.slo_of(store, "there", parts, segments=False)
        assert refused.value.code == "exists"
        assert (await store.head("there")).md5 == md5(b"first")

    async def test_an_slo_of_missing_segments_is_not_made(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10, b"b" * 10)
        await store.delete(["up/1"])
        with pytest.raises(Transient) as failed:
            await self.slo_of(store, "up/slo", parts)
        assert failed.value.scope == "object"
        assert failed.value.code in {"segments-gone", "container-gone"}
        assert await store.head("up/slo", segments=True) is None

    async def test_segments_of_another_md5_are_noticed_where_they_are_checked(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10, b"b" * 10)
        await store.put("up/1", b"c" * 10, 10, segments=True)
        if not self.checks_parts:  # whoever makes an SLO must look at each of them before
            assert (await self.slo_of(store, "up/slo", parts)).slo
            return
        with pytest.raises(Transient) as failed:
            await self.slo_of(store, "up/slo", parts)
        assert (failed.value.code, failed.value.scope) == ("segments-gone", "object")

    async def test_a_copy_with_another_checksum_is_not_made(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10, b"b" * 10)
        await self.slo_of(store, "up/slo", parts)
        with pytest.raises(Refused) as refused:
            await store.copy("up/slo", "whole", etag="0" * 32)
        assert refused.value.code in ({"mismatch"} if self.can.joins else {"mismatch", "bad-request"})
        if self.can.joins:
            assert await store.head("whole") is None

    async def test_a_copy_of_an_slo_without_its_segments_is_not_made(self, store):
        parts = await self.parts_of(store, "up", b"a" * 10, b"b" * 10)
        await self.slo_of(store, "up/slo", parts)
        await store.delete(["up/0"])
        with pytest.raises((Transient, Refused)) as failed:
            await store.copy("up/slo", "whole", etag=md5(b"a" * 10 + b"b" * 10))
        assert isinstance(failed.value, Refused) or failed.value.scope == "object"
        found = await store.head("whole")
        assert found is None or (not self.can.joins and found.size == 0)

    async def test_deleting_what_is_gone_is_fine(self, store):
        await store.put("up/0", b"0", 1, segments=True)
        await store.delete(["up/0", "up/gone"])
        await store.delete(["up/0", "up/gone"])
        await store.delete(["up/gone"])
        await store.delete([])
        assert tuple(await store.listing("up/", segments=True)) == ()

    async def test_one_object_of_the_targets_own_is_removed_and_no_other(self, store):
        for name in ("host/a", "host/ab"):
            await store.put(name, b"0", 1)
        await store.put("host/a", b"1", 1, segments=True)
        await store.remove("host/a")
        await store.remove("host/a")
        assert [each.name for each in await store.listing("host/")] == ["host/ab"]
        assert [each.name for each in await store.listing("host/", segments=True)] == ["host/a"]

    async def test_the_probe_finds_what_the_server_can_and_leaves_nothing(self, store):
        for _ in range(2):
            found = judge(await store.observe("m"))
            assert replace(found, message="") == replace(self.can, message="")
            assert tuple(await store.listing("", segments=True)) == ()
            assert tuple(await store.listing("")) == ()

    async def test_the_limits_are_told(self, store):
        limits = await store.limits()
        assert limits.max_object > 0
        assert limits.slo

    async def test_at_rate_zero_nothing_is_stored_until_it_may(self, store):
        store.throttle.set_cap(0)
        going = asyncio.create_task(store.put("later", DATA, len(DATA)))
        await asyncio.sleep(0.2)
        assert not going.done()
        assert await store.head("later") is None
        store.throttle.set_cap(None)
        assert (await going).md5 == md5(DATA)

    async def test_what_is_cancelled_is_not_stored(self, store):
        store.throttle.set_cap(10_000)
        going = asyncio.create_task(store.put("never", DATA, len(DATA)))
        await asyncio.sleep(0.3)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert await store.head("never") is None
        store.throttle.set_cap(None)
        assert (await store.put("never", DATA, len(DATA))).md5 == md5(DATA)

    async def test_forgetting_connections_loses_nothing(self, store):
        await store.put("kept", b"k", 1)
        await store.forget_connections()
        assert (await store.head("kept")).md5 == md5(b"k")

    async def test_closing_twice_is_fine(self, store):
        await store.put("kept", b"k", 1)
        await store.close()
        await store.close()
