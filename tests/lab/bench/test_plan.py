import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.bench import plan
from marfl_peer.lab.links import Rates


def test_numbers_are_read() -> None:
    assert (plan.members("64"), plan.peers("125"), plan.repeats("1")) == (64, 125, 1)
    assert plan.vector_bytes("--bytes", "9599056") == 9_599_056
    assert plan.peer_numbers("--peers", "16,64, 125,16") == [16, 64, 125]


@pytest.mark.parametrize("text", ["1", "65", "x", "", "4.0", "-4", "9" * 19])
def test_members_that_cannot_be_are_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match="write a whole number from 2 to 64") as error:
        plan.members(text)
    assert (error.value.what, error.value.value) == ("--members", text)


def test_bytes_that_are_no_equal_halves_of_floats_are_refused_with_the_next_that_are() -> None:
    with pytest.raises(ConfigError, match="write 9600") as error:
        plan.vector_bytes("--vector-bytes", "9601")
    assert error.value.what == "--vector-bytes"


@pytest.mark.parametrize("text", ["", "16,", "16;64", "16,1"])
def test_list_of_peers_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--peers"):
        plan.peer_numbers("--peers", text)


def test_codecs_are_named_one_by_one_or_all_at_once() -> None:
    assert plan.codec_names(("int8", "topk:0.01", "int8")) == ["int8", "topk:0.01"]
    assert plan.codec_names(("topk", "all")) == ["topk", "float32", "bfloat16", "float16", "int8", "int4"]


@pytest.mark.parametrize(
    ("text", "remedy"), [("zip", "write float32"), ("theta=int8,momentum=int4", "one codec at a time")]
)
def test_codec_that_cannot_be_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        plan.codec_names((text,))


def test_rates_are_read() -> None:
    assert plan.rates(4, None, None, None) is None
    assert plan.rates(4, "1gbit", None, None) == Rates(10**9)
    assert plan.rates(4, "2.5Gbit", None, "100mbit") == Rates(2_500_000_000, 1, 10**8)
    assert plan.rates(4, "1gbit", "4", "1500kbit") == Rates(10**9, 4, 1_500_000)


@pytest.mark.parametrize(
    ("texts", "flag", "remedy"),
    [
        (("fast", None, None), "--link-rate", "such as 1gbit"),
        (("1kbit", None, None), "--link-rate", "from 1mbit"),
        (("200gbit", None, None), "--link-rate", "to 100gbit"),
        (("1gbit", "1", None), "--slow-members", "needs --slow-rate"),
        (("1gbit", "5", "1mbit"), "--slow-members", "from 1 to 4"),
        (("1gbit", None, "1"), "--slow-rate", "such as 1gbit"),
        ((None, None, "1mbit"), "--slow-rate", "needs --link-rate"),
        ((None, "1", None), "--slow-members", "needs --link-rate"),
    ],
)
def test_rate_that_cannot_be_is_refused(
    texts: tuple[str | None, str | None, str | None], flag: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=remedy) as error:
        plan.rates(4, *texts)
    assert error.value.what == flag
