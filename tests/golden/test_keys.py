"""Keys as they are written into stores: a change here makes every stored entry unfindable, so it must be meant."""

from tests.unit.request.keys import BASE, key


def test_the_keys_of_a_request() -> None:
    keyed = key(BASE)
    assert keyed.exact_key.hex() == "ce31f89938ddfd87e53463837b93ada7121337cf22146b534d7c35ed0807358d"
    assert keyed.partition.hex() == "c6d7c51305359f69f20b0a66a089dd4a6abd0b9807ca978a468994e396ae03e3"
