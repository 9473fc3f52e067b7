"""Weights as int8 in groups: how much they differ from the float ones, and which products of a network get them."""

from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("openvino")

from semcache.embedding.openvino_backend import import_openvino
from semcache.embedding.quantised import grouped, quantise
from semcache.errors import StartError


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def ov() -> ModuleType:
    return import_openvino()


@pytest.mark.parametrize(
    ("inputs", "groups"), [(64, 1), (128, 2), (384, 6), (1536, 24), (312, 1), (100, 1), (32, 1), (96, 1)]
)
def test_weights_come_back_within_half_a_step_and_where_64_does_not_divide_a_row_is_a_group(inputs: int, groups: int):
    weights = random(10, inputs) * np.logspace(-3, 3, 10, dtype=np.float32)[:, None]

    numbers, scales = grouped(weights)

    assert numbers.shape == (10, groups, inputs // groups)
    assert (numbers.dtype, scales.dtype) == (np.int8, np.float32)
    assert scales.shape == (10, groups, 1)
    assert np.abs(numbers).max(axis=2).min() == 127  # every group uses all of the range, and −128 is never met
    assert numbers.min() >= -127
    error = np.abs(numbers * scales - weights.reshape(numbers.shape))
    assert (error <= scales * (0.5 + 1e-4)).all()


def test_a_group_of_zeros_stays_zero():
    numbers, scales = grouped(np.zeros((2, 128), dtype=np.float32))
    assert not numbers.any()
    assert np.isfinite(scales).all()


def test_each_group_has_a_scale_of_its_own_so_that_one_large_weight_coarsens_no_other_group():
    weights = random(1, 128)
    weights[0, 3] = 1000
    numbers, scales = grouped(weights)
    error = np.abs(numbers * scales - weights.reshape(numbers.shape)).max(axis=2)[0]
    assert error[1] < 0.02
    assert error[0] > 0.5


def compiled(ov: ModuleType, network):
    return ov.Core().compile_model(
        network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    )


@pytest.mark.parametrize("transposed", [True, False], ids=["outputs × inputs", "inputs × outputs"])
@pytest.mark.parametrize("inputs", [128, 100])
def test_a_product_keeps_its_name_and_almost_its_result(ov: ModuleType, inputs: int, *, transposed: bool):
    op, weights = ov.opset13, random(48, inputs)
    tokens = op.parameter([-1, -1, inputs], np.float32)
    product = op.matmul(tokens, op.constant(weights if transposed else weights.T.copy()), False, transposed)
    product.set_friendly_name("a product")
    network = ov.Model([op.relu(product)], [tokens])

    assert quantise(ov, network) == 1

    assert "a product" in [node.get_friendly_name() for node in network.get_ordered_ops()]
    constants = [node for node in network.get_ordered_ops() if node.get_type_name() == "Constant"]
    assert [node.get_element_type() for node in constants].count(ov.Type.i8) == 1
    given = random(2, 5, inputs)
    expected = np.maximum(given @ weights.T, 0)
    result = compiled(ov, network)([given])[0]
    assert result.shape == expected.shape
    assert np.sqrt(((result - expected) ** 2).mean()) < 0.01 * np.sqrt((expected**2).mean())


def test_products_of_two_activations_batched_matrices_tables_and_attentions_values_stay_float(ov: ModuleType):
    op = ov.opset13
    ids = op.parameter([-1, -1], np.int64)
    table = op.gather(op.constant(random(30, 64)), ids, op.constant(0))
    query, key, value = (op.matmul(table, op.constant(random(64, 64)), False, True) for _ in range(3))
    value.set_friendly_name("value")
    heads = [op.constant(np.array([0, 0, 2, 32])), op.constant(np.array([0, 2, 1, 3]))]
    split = [
        op.transpose(op.reshape(op.add(one, op.constant(random(64))), heads[0], special_zero=True), heads[1])
        for one in (query, key, value)
    ]
    attended = op.scaled_dot_product_attention(*split)
    squared = op.matmul(attended, attended, False, True)
    batched = op.matmul(attended, op.constant(random(1, 2, 32, 8)), False, False)
    network = ov.Model([squared, batched], [ids])

    assert quantise(ov, network) == 2  # query and key

    by_name = {node.get_friendly_name(): node for node in network.get_ordered_ops()}
    assert by_name["value"].input_value(1).get_node().get_element_type() == ov.Type.f32
    compiled(ov, network)([np.ones((1, 4), dtype=np.int64)])


def test_a_network_without_such_a_product_is_refused_with_a_way_out(ov: ModuleType):
    op = ov.opset13
    tokens = op.parameter([-1, 8], np.float32)
    network = ov.Model([op.matmul(tokens, tokens, False, True)], [tokens])
    with pytest.raises(StartError, match="multiplies by no constant matrix") as refused:
        quantise(ov, network)
    assert "auto" in refused.value.hint
