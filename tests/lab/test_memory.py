import asyncio
import os
from pathlib import Path

from marfl_peer.lab.memory import Pss, PssSampler, resident_bytes, sample_pss


def fake_process(proc: Path, pid: int, kib: int) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "smaps_rollup").write_text(f"0-1 ---p [rollup]\nRss: {9 * kib} kB\nPss: {kib} kB\n")


def test_sample_takes_the_pss_lines_of_those_that_run(tmp_path: Path) -> None:
    fake_process(tmp_path, 1, 100)
    fake_process(tmp_path, 2, 300)
    sample = sample_pss([1, 2, 3], proc=tmp_path)
    assert sample == Pss(max_bytes=300 << 10, total_bytes=400 << 10, processes=2)


def test_sample_of_nobody_is_none(tmp_path: Path) -> None:
    assert sample_pss([1], proc=tmp_path) is None


def test_sample_of_this_process_is_plausible() -> None:
    sample = sample_pss([os.getpid()])
    assert sample is not None and 1 << 20 < sample.total_bytes <= 2 * resident_bytes()


def test_joined_keeps_the_highest_of_each() -> None:
    low, high = Pss(max_bytes=5, total_bytes=50, processes=10), Pss(max_bytes=9, total_bytes=9, processes=1)
    assert low.joined(high) == high.joined(low) == Pss(max_bytes=9, total_bytes=50, processes=10)


def test_sampler_pauses_twice_as_long_each_time(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        fake_process(tmp_path, 1, 100)
        sampler, sampled_at = PssSampler(proc=tmp_path), list[int]()
        for second in range(40):
            sampler.latest = None
            sampler.sample_if_due([1], now=float(second))
            await sampler.finish()
            if sampler.latest is not None:
                sampled_at.append(second)
        return sampled_at

    assert asyncio.run(scenario()) == [0, 5, 15, 35]


def test_sampler_joins_samples_and_keeps_the_latest(tmp_path: Path) -> None:
    async def scenario() -> PssSampler:
        sampler = PssSampler(proc=tmp_path)
        fake_process(tmp_path, 1, 300)
        fake_process(tmp_path, 2, 100)
        sampler.sample_if_due([1], now=0.0)
        await sampler.finish()
        sampler.sample_if_due([2], now=5.0)
        await sampler.finish()
        sampler.sample_if_due([3], now=50.0)
        await sampler.finish()
        return sampler

    sampler = asyncio.run(scenario())
    assert sampler.latest is not None and sampler.latest.max_bytes == 100 << 10
    assert sampler.highest is not None and sampler.highest.max_bytes == 300 << 10
