"""Which addresses integrations may connect to, and how operators write down exceptions."""

import pytest

from runlane.addresses import is_allowed, is_public, parse_allowed_hosts
from runlane.errors import ConfigurationError
from runlane.settings import read_settings


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "not an address",
        "",
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(address)


def test_an_operator_allows_a_host_on_one_port_or_on_any() -> None:
    allowed = parse_allowed_hosts(" halo.intern.example , 10.0.0.5:8443,[::1]:80,")
    assert is_allowed("Halo.Intern.example", 443, allowed)
    assert is_allowed("halo.intern.example.", 80, allowed)
    assert is_allowed("10.0.0.5", 8443, allowed)
    assert is_allowed("::1", 80, allowed)
    assert not is_allowed("10.0.0.5", 443, allowed)
    assert not is_allowed("evil.halo.intern.example", 443, allowed)
    assert not is_allowed("::1", 443, allowed)
    assert parse_allowed_hosts("") == frozenset()


@pytest.mark.parametrize(
    "text", ["https://x.example", "x.example:", "x.example:99999", "x:0", "a b", "*", "x/y", "::1"]
)
def test_what_is_no_host_is_refused_by_the_setting(text: str) -> None:
    with pytest.raises(ConfigurationError, match="RUNLANE_ALLOWED_HOSTS") as problem:
        read_settings({"RUNLANE_ALLOWED_HOSTS": text}).integration_hosts()
    assert problem.value.config_key == "RUNLANE_ALLOWED_HOSTS"
