import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab import launcher as launcher_module
from marfl_peer.lab.jobs import Exited, Job, Ready, Refused, Started
from marfl_peer.lab.launcher import Launcher

Scenario = Callable[[Launcher], Awaitable[object]]


def launch(tmp_path: Path, children: str, scenario: Scenario) -> object:
    """Runs the scenario with a launcher whose children run the body `children`."""
    body = "\n".join(f"        {line}" for line in children.splitlines())
    (tmp_path / "hatched.py").write_text(
        f"import os, signal, sys, time\ndef prepare(job):\n    def run(start):\n{body}\n    return run\n"
    )
    job = Job(entry="hatched:prepare", settings=Settings(), facts_path="")

    async def run() -> object:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        async with asyncio.timeout(60), Launcher(job, log=tmp_path / "log", environment=environment) as launcher:
            return await scenario(launcher)

    return asyncio.run(run())


def test_child_lives_with_one_thread_and_reports_come_in_order(tmp_path: Path) -> None:
    async def scenario(launcher: Launcher) -> None:
        assert isinstance(await launcher.next_report(), Ready)
        launcher.start(4, Settings(state_dir=tmp_path))
        assert isinstance(await launcher.next_report(), Started)
        assert await launcher.next_report() == Exited(index=4, code=int("1"), signal=None)

    launch(tmp_path, "return int(os.environ['OMP_NUM_THREADS'])", scenario)


def test_signal_reaches_the_child(tmp_path: Path) -> None:
    async def scenario(launcher: Launcher) -> None:
        await launcher.next_report()
        launcher.start(0, Settings(state_dir=tmp_path))
        await launcher.next_report()
        launcher.signal(0, signal.SIGKILL)
        assert await launcher.next_report() == Exited(index=0, code=None, signal=signal.SIGKILL)

    launch(tmp_path, "while True: signal.pause()", scenario)


def test_leaving_ends_children_and_nursery(tmp_path: Path) -> None:
    async def scenario(launcher: Launcher) -> tuple[int, int]:
        await launcher.next_report()
        launcher.start(0, Settings(state_dir=tmp_path))
        started = await launcher.next_report()
        assert isinstance(started, Started)
        return launcher.pid, started.pid

    pids = launch(tmp_path, "while True: signal.pause()", scenario)
    assert isinstance(pids, tuple)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_leaving_kills_what_does_not_listen(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(launcher_module, "CLOSING_S", 0.2)

    async def scenario(launcher: Launcher) -> int:
        await launcher.next_report()
        launcher.start(0, Settings(state_dir=tmp_path))
        await launcher.next_report()
        os.kill(launcher.pid, signal.SIGSTOP)
        return launcher.pid

    pid = launch(tmp_path, "while True: signal.pause()", scenario)
    assert not Path(f"/proc/{pid}").exists()


def test_end_of_the_nursery_is_the_end_of_reports(tmp_path: Path) -> None:
    async def scenario(launcher: Launcher) -> None:
        await launcher.next_report()
        os.kill(launcher.pid, signal.SIGKILL)
        assert await launcher.next_report() is None
        launcher.start(0, Settings(state_dir=tmp_path))  # to nobody: no error

    launch(tmp_path, "return 0", scenario)


def test_failure_names_the_remedy_or_the_log(tmp_path: Path) -> None:
    job = Job(entry="a:b", settings=Settings(), facts_path="")
    launcher = Launcher(job, log=tmp_path / "nursery.log", environment={})
    error = launcher.failure(Refused(what="shards", value=9, remedy="use fewer", config=True))
    assert isinstance(error, ConfigError) and str(error) == "shards: 9: use fewer"
    bug = launcher.failure(Refused(what="KeyError: 'k'", value=None, remedy="", config=False))
    assert "KeyError" in str(bug) and "nursery.log" in str(bug)
    assert "ended" in str(launcher.failure(None))
