import json

import msgspec

from marfl_peer.lab.bench.results import Aggregation, Exchange, Scaling, to_json


def test_exchange_has_its_keys(exchange_result: Exchange) -> None:
    keys = json.loads(to_json(exchange_result)).keys()
    assert {"seconds_median", "gloo_seconds_median", "ratio_to_gloo", "members", "bytes", "codec", "way"} <= keys
    assert {"link_bits_per_second", "callback_cpu_seconds_max"} <= keys


def test_aggregation_has_its_keys_also_where_hivemind_is_not_installed(aggregation_result: Aggregation) -> None:
    without = msgspec.structs.replace(aggregation_result, hivemind_seconds_median=None, ratio_to_hivemind=None)
    values = json.loads(to_json(without))
    wanted = {"seconds_median", "gloo_seconds_median", "ratio_to_gloo", "gloo_flat_seconds_median", "members", "bytes"}
    assert wanted | {"codec", "ratio_to_gloo_flat", "hivemind_seconds_median"} <= values.keys()
    assert values["hivemind_seconds_median"] is None


def test_scaling_has_a_run_for_every_number_of_peers(scaling_result: Scaling) -> None:
    values = json.loads(to_json(scaling_result))
    assert [run["peers"] for run in values["runs"]] == [16, 64]
    wanted = {"peers", "group_size", "bytes_sent_per_peer_per_iteration", "seconds_per_iteration"}
    assert all(wanted <= run.keys() for run in values["runs"])
    assert values["runs"][0]["formulas"].keys() >= {"mar_fl", "rdfl", "ar_fl", "fedavg", "butterfly", "ring"}
    assert values["fit"]["bytes_a_peer_and_round"] > 0
