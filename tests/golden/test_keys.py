"""Keys as they are written into stores: a change here makes every stored entry unfindable, so it must be meant."""

from semcache.model import ApiProtocol
from tests.unit.request.keys import BASE, key
from tests.unit.request.test_message_fields import BASE as MESSAGE
from tests.unit.request.test_message_fields import HEADERS


def test_the_keys_of_a_request() -> None:
    keyed = key(BASE)
    assert keyed.exact_key.hex() == "ce31f89938ddfd87e53463837b93ada7121337cf22146b534d7c35ed0807358d"
    assert keyed.partition.hex() == "c6d7c51305359f69f20b0a66a089dd4a6abd0b9807ca978a468994e396ae03e3"


def test_the_keys_of_a_message() -> None:
    keyed = key(MESSAGE, protocol=ApiProtocol.MESSAGES, headers=HEADERS)
    assert keyed.exact_key.hex() == "ac97f905d7217bd55b6842a17725d269576fbd95fe2e84e7e6f6f443eb7d125a"
    assert keyed.partition.hex() == "c9c421643520a5b70b8c6a6dff6e039d9cf6e43ad1e91e6bba657c6c121c0756"
