"""Hosts and worlds have the faces that sockets and loops know of them."""

from __future__ import annotations

from worlds import world_of

from marfl_peer.lab.simulator.faces import MachineFace, NetworkFace, WorldFace


def test_host_world_and_network_have_their_faces() -> None:
    world = world_of(1)
    for thing, face in ((world.hosts[0], MachineFace), (world, WorldFace), (world.network, NetworkFace)):
        names = {*face.__annotations__, *(name for name in vars(face) if not name.startswith("_"))}
        assert len(names) >= 2
        assert [name for name in sorted(names) if not hasattr(thing, name)] == []
