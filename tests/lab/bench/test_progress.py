import io

from rich.console import Console

from marfl_peer.lab.bench.progress import BenchProgress


def shown(*, is_terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=80)
    with BenchProgress(console) as progress:
        progress.note("gloo: 3 of 5", 0.5)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_terminal_shows_what_goes_on() -> None:
    assert "gloo: 3 of 5" in shown(is_terminal=True)


def test_nothing_is_written_where_nobody_looks() -> None:
    assert shown(is_terminal=False) == ""
