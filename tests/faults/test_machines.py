"""What remains of stale reads between machines whose network fails; see `machines`."""

import subprocess

import pytest

from faults.machines import AHEAD, FAULTS, as_table, measured, network
from harness import Template

FALLBACK_TTL = 10  # seconds, CACHE_FALLBACK_TTL
SLACK = 5  # seconds until an outage is noticed, on a busy machine


def refusal() -> str:
    try:
        with network():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"namespaces of the network are not to be had: {error}"


@pytest.mark.nightly
def test_machine_that_is_cut_off_is_stale_for_no_longer_than_it_may(
    template: Template,
) -> None:
    if reason := refusal():
        pytest.skip(reason)
    project = template.copy(cache_backend="redis", database="sqlite")
    project.sync()
    found = measured(project, FALLBACK_TTL + SLACK)
    print(as_table(found))
    assert set(found) > set(FAULTS)
    for fault, (during, after) in found.items():
        assert during.reads, fault
        assert not during.errors + after.errors, fault
        assert not during.own + after.own, fault
        assert not after.others, fault
        assert during.oldest <= FALLBACK_TTL + SLACK, fault
    for name in ("none, for comparison", f"none, for comparison{AHEAD}"):
        assert not found[name][0].others
