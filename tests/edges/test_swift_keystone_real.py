"""A real Keystone gives out the tokens, and a real Swift asks it about each: every way in, and each way out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from realparts.keystone_server import NORTH, KeystoneSwift, User
from slowboat.core.errors import NeedsUser, Transient
from slowboat.edges.swift import Credentials, SwiftStore, auth

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def user(keystone_swift: KeystoneSwift) -> User:
    """Somebody in a domain of their own: Keystone's first one is what is taken where none is given."""
    return keystone_swift.keystone.user("house")


def password(swift: KeystoneSwift, owner: User, **more: Any) -> Credentials:
    given = {"user": owner.name, "key": owner.password, "user_domain": owner.domain, "project": owner.project, **more}
    return Credentials(**{"auth_url": swift.keystone.url, "region": NORTH, **given})


async def refused(credentials: Credentials, container: str = "c") -> NeedsUser:
    """The words for the user, in which there is no secret, nor in the store's own."""
    store = SwiftStore(credentials, container)
    with pytest.raises(NeedsUser) as told:
        await store.head("one")
    shown = f"{told.value!r} {told.value.hint} {told.value.__context__!r} {store!r} {credentials!r}"
    for secret in (credentials.key, credentials.application_credential_secret):
        assert not secret or secret not in shown
    await store.close()
    return told.value


# -- ways in ---------------------------------------------------------------------------------------------

NO_NAMES = {"user": "", "user_domain": "", "project": ""}

WAYS: dict[str, Callable[[User], dict[str, str]]] = {
    "names": lambda user: {"project_domain": user.domain},
    "names-and-the-users-domain-for-the-project": lambda user: {},
    "domains-by-id": lambda user: {
        "user_domain": "",
        "user_domain_id": user.domain_id,
        "project_domain_id": user.domain_id,
    },
    "project-by-id": lambda user: {"project": "", "project_id": user.project_id},
    "all-by-id": lambda user: {**NO_NAMES, "user_id": user.id, "project_id": user.project_id},
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_password(keystone_swift: KeystoneSwift, user: User, way: str) -> None:
    container = keystone_swift.container()
    credentials = password(keystone_swift, user, **WAYS[way](user))
    store = SwiftStore(credentials, container)
    await store.put("one", b"whole", 5)
    await store.close()
    keystone_swift.owner = user
    assert keystone_swift.read(container, "one") == b"whole"


@pytest.mark.parametrize("ending", ["", "/", "/v3/"])
async def test_the_address_may_lack_its_version(keystone_swift: KeystoneSwift, user: User, ending: str) -> None:
    url = keystone_swift.keystone.url.removesuffix("/v3") + ending
    store = SwiftStore(password(keystone_swift, user, auth_url=url), "none-such")
    assert await store.head("one") is None
    await store.close()


async def test_the_first_domain_where_none_is_given(keystone_swift: KeystoneSwift) -> None:
    somebody = keystone_swift.keystone.user()
    store = SwiftStore(password(keystone_swift, somebody, user_domain=""), "none-such")
    assert await store.head("one") is None
    await store.close()


@pytest.mark.parametrize("by_name", [False, True])
async def test_an_application_credential(keystone_swift: KeystoneSwift, user: User, by_name: bool) -> None:
    container, name = keystone_swift.container(), f"boat-{by_name}"
    found, secret = keystone_swift.keystone.application_credential(user, name)
    given = password(keystone_swift, user, key="", project="", application_credential_secret=secret)
    named = {"application_credential_name": name} if by_name else {"application_credential_id": found, **NO_NAMES}
    store = SwiftStore(replace(given, **named), container)
    await store.put("one", b"whole", 5)
    await store.close()
    keystone_swift.owner = user
    assert keystone_swift.read(container, "one") == b"whole"
    assert "credential" in str(await refused(replace(given, **named, application_credential_secret="opensesame")))


# -- ways out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["key", "user", "user_domain", "project"])
async def test_what_is_wrong_is_for_the_user(keystone_swift: KeystoneSwift, user: User, wrong: str) -> None:
    told = await refused(password(keystone_swift, user, **{wrong: "opensesame"}))
    assert told.code == "credentials"
    assert "does not accept the user, the password or the project" in str(told)
    for setting in ("user", "user_domain", "project", "project_domain", "password"):
        assert setting in told.hint


async def test_who_has_no_part_in_the_project(keystone_swift: KeystoneSwift) -> None:
    guest = keystone_swift.keystone.user("guests", member=False)
    assert (await refused(password(keystone_swift, guest))).code == "credentials"


@pytest.mark.parametrize(
    ("more", "code", "words", "hint"),
    [
        ({"region": ""}, "region", "several regions: north, south", "Set region"),
        ({"region": "west"}, "no-store", "no object store in region west", "north, south"),
        ({"interface": "admin"}, "no-store", "no admin address", "internal, public"),
        ({"project": "", "user_domain": "", "user": ""}, "no-store", "has no object store", "Check project"),
    ],
)
async def test_what_the_catalogue_lacks(
    keystone_swift: KeystoneSwift, user: User, more: dict[str, str], code: str, words: str, hint: str
) -> None:
    told = await refused(password(keystone_swift, user, **({"user_id": user.id} | more if "user" in more else more)))
    assert told.code == code
    assert words in str(told)
    assert hint in told.hint


@pytest.mark.parametrize("more", [{"region": "south"}, {"interface": "internal"}])
async def test_another_region_or_interface_is_another_address(
    keystone_swift: KeystoneSwift, user: User, more: dict[str, str]
) -> None:
    store = SwiftStore(password(keystone_swift, user, **more), "c")
    with pytest.raises(Transient) as told:  # nobody is there
        await store.head("one")
    assert told.value.code == "refused"
    assert "127.0.0.1:1" in str(told.value)
    await store.close()


async def test_an_address_of_the_settings_needs_no_catalogue(keystone_swift: KeystoneSwift, user: User) -> None:
    more = {"region": "", "storage_url": keystone_swift.account(user)}
    store = SwiftStore(password(keystone_swift, user, **more), "none-such")
    assert await store.head("one") is None
    await store.close()


@pytest.mark.parametrize("path", ["", "/v3"])
async def test_keystone_where_version_1_was_meant(keystone_swift: KeystoneSwift, user: User, path: str) -> None:
    url = keystone_swift.keystone.url.removesuffix("/v3") + path
    told = await refused(Credentials(url, user.name, user.password, version=1))
    assert told.code == "auth-url"
    assert "Keystone" in str(told)
    assert "auth_version = 3" in told.hint


async def test_version_2_at_a_keystone_that_has_left_it_behind(keystone_swift: KeystoneSwift, user: User) -> None:
    url = keystone_swift.keystone.url.removesuffix("v3") + "v2.0"
    assert (await refused(password(keystone_swift, user, auth_url=url))).code == "auth-url"


# -- a token's life --------------------------------------------------------------------------------------


async def test_a_revoked_token_is_renewed_and_nothing_is_lost(keystone_swift: KeystoneSwift, user: User) -> None:
    container = keystone_swift.container()
    store = SwiftStore(password(keystone_swift, user), container)
    await store.put("0", b"whole", 5)
    first = store._keyring._access
    keystone_swift.keystone.revoke(first.token)
    names = ["0"]
    while store._keyring._access is first:  # Swift remembers a token for a second
        names.append(str(len(names)))
        with suppress(Transient):
            await store.put(names[-1], b"whole", 5)
    await store.put(names[-1] + "-again", b"whole", 5)
    listed = {each.name for each in await store.listing("")}
    await store.close()
    assert {*names[:-1], names[-1] + "-again"} <= listed


async def test_a_token_is_renewed_when_ten_minutes_of_its_hour_are_left(
    keystone_swift: KeystoneSwift, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, now = [0.0], auth.now
    monkeypatch.setattr(auth, "now", lambda: now() + later[-1])
    store = SwiftStore(password(keystone_swift, user), "none-such")
    tokens = []
    for seconds in (0.0, 2700.0, 3010.0):
        later.append(seconds)
        await store.head("one")
        tokens.append(store._keyring._access.token)
    await store.close()
    assert tokens[0] == tokens[1] != tokens[2]


async def test_a_new_password_stops_it_until_the_settings_have_it(keystone_swift: KeystoneSwift) -> None:
    somebody = keystone_swift.keystone.user("movers")
    known = [somebody.password]
    given = password(keystone_swift, somebody, key="", secret=lambda: known[-1])
    store = SwiftStore(given, "none-such")
    assert await store.head("one") is None
    keystone_swift.keystone.new_password(somebody, "sesame-new")
    await store.forget_connections()
    with pytest.raises(NeedsUser) as told:
        await store.head("one")
    assert told.value.code == "credentials"
    known.append("sesame-new")
    assert await store.head("one") is None
    await store.close()
