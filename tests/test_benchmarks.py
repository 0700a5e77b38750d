"""The benchmark: its pieces work, without a load generator and without the peers."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import load, processes, report
from benchmarks.__main__ import PARTS
from harness import ROOT


@pytest.mark.fast
def test_help_names_every_part() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert all(f"\n  {part} " in printed for part in PARTS)


@pytest.mark.fast
def test_without_a_generator_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(processes.Failed, match="apt-get install wrk"):
        load.find_generator()


@pytest.mark.fast
def test_a_server_is_measured_and_stopped(tmp_path: Path) -> None:
    port = processes.free_port()
    (tmp_path / "page").write_text("hello")
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    log = tmp_path / "log"
    with processes.running(command, port=port, log=log, cwd=tmp_path) as server:
        assert load.get(server, "/page") == b"hello"
        assert server.cpu() > 0
        assert server.memory() > 1_000_000
    assert server.cpu() == 0


@pytest.mark.fast
def test_what_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with (
        pytest.raises(processes.Failed, match="no such thing"),
        processes.running(command, port=processes.free_port(), log=tmp_path / "log"),
    ):
        raise AssertionError


@pytest.mark.fast
def test_ratios_are_made_round_by_round() -> None:
    own, its = report.Sample((2.0, 6.0, 3.0)), report.Sample((1.0, 2.0, 3.0))
    assert own.to(its).ratio() == "**2.00** (1.00–3.00)"


@pytest.mark.fast
def test_a_missed_goal_says_by_how_much() -> None:
    assert report.Goal("hits", 2.0, 3.0).row()[-1] == "**missed by 50%**"
    assert report.Goal("hits", 2.0, 2.0).row()[-1] == "reached"
    assert report.Goal("rate", 2.0, 1.0, least=True).row()[-1] == "**missed by 50%**"
