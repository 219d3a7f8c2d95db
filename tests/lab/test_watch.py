import pytest

from marfl_peer.config import Settings
from marfl_peer.lab.memory import MIB, Pss
from marfl_peer.lab.progress import Snapshot
from marfl_peer.lab.tally import Tally
from marfl_peer.lab.warden import Patience, Warden
from marfl_peer.lab.watch import Watch


class Drawings(list[Snapshot]):
    update = list.append

    def __enter__(self) -> "Drawings":
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Scene:
    def __init__(self, peers: int, iterations: int) -> None:
        self.tally, self.warden, self.drawings = Tally(), Warden(Patience(), now=0.0), Drawings()
        settings = Settings(iterations=iterations)
        self.watch = Watch(settings, peers, tally=self.tally, warden=self.warden, view=self.drawings)
        for index in range(peers):
            self.warden.started(index, 100 + index, now=0.0)

    def snapshot(self) -> Snapshot:
        return self.watch.snapshot("training", now=1.0, pss=None)


def test_draws_at_most_four_times_a_second() -> None:
    scene = Scene(1, 10)
    for hundredth in range(100):
        scene.watch.draw("training", now=hundredth / 100, pss=None)
    assert len(scene.drawings) == 4
    scene.watch.draw("done", now=1.0, pss=None, at_once=True)
    scene.watch.draw("done", now=1.0, pss=None, at_once=True)
    assert [drawing.phase for drawing in scene.drawings[4:]] == ["done", "done"]


def test_rows_settle_one_by_one_and_once(told) -> None:
    scene = Scene(2, 10)
    assert (scene.snapshot().rows, scene.snapshot().current) == ((), None)
    scene.tally.add(0, told.finished(1, tensor=1))
    assert scene.snapshot().rows == () and scene.snapshot().current == scene.tally.row(1)
    scene.tally.add(1, told.finished(1, tensor=2))
    scene.tally.add(0, told.finished(2))
    snapshot = scene.snapshot()
    assert [row.iteration for row in snapshot.rows] == [1]
    assert snapshot.rows[0].bytes_sent["tensor"] == 3
    assert snapshot.current is not None and snapshot.current.iteration == 2
    assert scene.snapshot().rows == snapshot.rows


def test_end_of_all_peers_settles_everything(told) -> None:
    scene = Scene(1, 10)
    for iteration in (1, 2, 3):
        scene.tally.add(0, told.finished(iteration))
    scene.warden.exited(0, 0, None, now=1.0)
    assert [row.iteration for row in scene.snapshot().rows] == [1, 2, 3]
    assert scene.snapshot().current is None


def test_progress_counts_iterations_and_those_who_stopped(told) -> None:
    scene = Scene(4, 10)
    assert scene.watch.progress() == 0
    scene.tally.add(0, told.finished(5))
    scene.tally.add(1, told.finished(9))
    scene.warden.exited(1, 0, None, now=1.0)
    assert scene.watch.progress() == pytest.approx((0.5 + 1.0) / 4)


def test_snapshot_counts_fates_and_memory(told) -> None:
    scene = Scene(3, 10)
    scene.warden.heard(0, told.stopped("finished"), now=1.0)
    scene.warden.exited(0, 0, None, now=1.0)
    scene.warden.exited(1, None, 9, now=1.0)
    pss = Pss(max_bytes=9 * MIB, total_bytes=12 * MIB, processes=2)
    snapshot = scene.watch.snapshot("training", now=2.0, pss=pss)
    assert (snapshot.alive, snapshot.finished, snapshot.lost, snapshot.pss_mib_mean) == (1, 1, 1, 6.0)


def test_peers_that_were_killed_and_may_come_back_make_no_progress() -> None:
    scene = Scene(2, 10)
    scene.warden.expect_kill(1)
    scene.warden.exited(1, None, 9, now=1.0)
    assert scene.watch.progress() == 0
    assert scene.snapshot().lost == 0
