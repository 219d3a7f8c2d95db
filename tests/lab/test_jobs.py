from pathlib import Path

import msgspec
import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.jobs import (
    Exited,
    Job,
    Ready,
    Refused,
    Signal,
    Start,
    Started,
    decode_command,
    decode_job,
    decode_report,
    encode,
)

SETTINGS = Settings(data_dir=Path("/data"), bootstrap=("127.0.0.1:7700",), target_accuracy=0.9)


def test_job_with_paths_survives_its_line() -> None:
    job = Job(entry="a.b:c", settings=SETTINGS, facts_path="/tmp/f")
    line = encode(job)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_job(line) == job


@pytest.mark.parametrize("command", [Start(index=3, settings=SETTINGS), Signal(index=3, number=15)])
def test_command_survives_its_line(command: Start | Signal) -> None:
    assert decode_command(encode(command)) == command


@pytest.mark.parametrize(
    "report",
    [
        Ready(seconds=1.5, rss_bytes=10, threads=1),
        Refused(what="shards", value=3, remedy="use fewer", config=True),
        Started(index=1, pid=2),
        Exited(index=1, code=0, signal=None),
    ],
)
def test_report_survives_its_line(report: Ready | Refused | Started | Exited) -> None:
    assert decode_report(encode(report)) == report


def test_line_of_another_kind_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_command(encode(Started(index=1, pid=2)))


def test_settings_that_cannot_be_are_refused_on_arrival() -> None:
    line = encode(Start(index=0, settings=SETTINGS)).replace(b'"group_size":4', b'"group_size":1')
    with pytest.raises(ConfigError, match="group-size"):
        decode_command(line)
