"""clouds.yaml: read by a child of its own, whatever stands in it, and its passwords come out for nobody else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from slowboat.core.errors import NeedsUser
from slowboat.core.identity import Identity
from slowboat.edges import clouds_yaml, secrets, settings
from slowboat.edges.secrets import Secret

if TYPE_CHECKING:
    from pathlib import Path

UNI = """
clouds:
  uni:
    auth:
      auth_url: https://keystone.example.org:5000/v3
      username: me
      project_name: backups
      user_domain_name: Default
    region_name: RegionOne
    interface: internal
  automat:
    auth_type: v3applicationcredential
    auth:
      auth_url: https://keystone.example.org/v3
      application_credential_id: 21dced
      application_credential_secret: s3cret
  token: {auth_type: v3token, auth: {auth_url: "https://x.example.org/v3", token: abc}}
  loose: {verify: false, auth: {auth_url: "https://x.example.org/v3", username: me}}
  vendor: {profile: somebody, auth: {username: me}}
  ours: {profile: house, auth: {username: me}}
  "odd name": {auth: {auth_url: "https://x.example.org/v3", username: me}}
"""
SECURE = "clouds: {uni: {auth: {password: pa55word}}}\n"
PUBLIC = "public-clouds: {house: {region_name: Two, auth: {auth_url: 'https://house.example.org/v3'}}}\n"
MIGRATION = '[migration.home]\nsource = "/media/x"\ncontainer = "c"\ncloud = "{}"\n'


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / ".config/openstack"
    folder.mkdir(parents=True)
    (folder / "clouds.yaml").write_text(UNI)
    (folder / "secure.yaml").write_text(SECURE)
    (folder / "clouds-public.yaml").write_text(PUBLIC)
    return {"HOME": str(tmp_path)}


def test_what_it_says_is_an_identity_and_a_secret(env: dict[str, str]) -> None:
    assert clouds_yaml.names(env) == ("uni", "automat", "token", "loose", "vendor", "ours", "odd name")
    assert clouds_yaml.identity("uni", env) == Identity(
        "https://keystone.example.org:5000/v3",
        "me",
        user_domain="Default",
        project="backups",
        region="RegionOne",
        interface="internal",
    )
    assert clouds_yaml.secret("uni", env) == "pa55word", "secure.yaml adds to it"
    automat = clouds_yaml.identity("automat", env)
    assert automat is not None
    assert (automat.version, automat.application_credential_id) == (3, "21dced")
    assert clouds_yaml.secret("automat", env) == "s3cret"
    ours = clouds_yaml.identity("ours", env)
    assert ours is not None
    assert (ours.auth_url, ours.region) == ("https://house.example.org/v3", "Two")
    assert clouds_yaml.identity("unheard-of", env) is None


@pytest.mark.parametrize(
    ("cloud", "told"),
    [("token", "logs in by v3token"), ("loose", "verify: false"), ("vendor", "from the profile somebody")],
)
def test_what_slowboat_does_not_do_is_told(env: dict[str, str], cloud: str, told: str) -> None:
    with pytest.raises(NeedsUser, match=told):
        clouds_yaml.identity(cloud, env)


def test_without_a_file_no_child_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert clouds_yaml.names({"HOME": str(tmp_path)}) == ()
    assert clouds_yaml.identity("uni", {"HOME": str(tmp_path)}) is None


def test_what_is_no_yaml_is_told_without_its_lines(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".config/openstack/secure.yaml").write_text("a: b\n  password: pa55word: x\n")
    with pytest.raises(NeedsUser, match=r"secure\.yaml, line 2 is not YAML") as caught:
        clouds_yaml.secret("uni", env)
    assert "pa55word" not in str(caught.value)


def test_the_configuration_names_one(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    read = settings.parse(MIGRATION.format("uni").encode(), path, env)
    cloud = read.clouds["uni"]
    assert (cloud.in_clouds_yaml, cloud.project) == (True, "backups")
    found = secrets.secret_of("uni", environment=env, in_clouds_yaml=True)
    assert found == Secret("pa55word")
    assert not (tmp_path / ".config/slowboat").exists(), "it is not copied"
    assert "yaml" not in sys.modules, "nor is the library here"


def test_os_cloud_is_for_a_try(env: dict[str, str], tmp_path: Path) -> None:
    raw = MIGRATION.replace('cloud = "{}"\n', "").encode()
    assert [*settings.parse(raw, tmp_path, env | {"OS_CLOUD": "automat"}).clouds] == ["automat"]


@pytest.mark.parametrize(
    ("cloud", "told"),
    [("unheard-of", r"there is no \[cloud.unheard-of\]"), ("token", "logs in by v3token"), ("odd name", "cannot take")],
)
def test_a_mistake_there_is_told_at_the_line_that_names_it(
    env: dict[str, str], tmp_path: Path, cloud: str, told: str
) -> None:
    with pytest.raises(NeedsUser, match=told) as caught:
        settings.parse(MIGRATION.format(cloud).encode(), tmp_path / "config.toml", env)
    assert "line 4" in caught.value.what


def test_a_table_of_the_same_name_comes_first(env: dict[str, str], tmp_path: Path) -> None:
    table = '[cloud.uni]\nauth_url = "https://other.example.org/auth/v1.0"\nuser = "a:u"\n'
    read = settings.parse((table + MIGRATION.format("uni")).encode(), tmp_path, env)
    assert (read.clouds["uni"].in_clouds_yaml, read.clouds["uni"].user) == (False, "a:u")
