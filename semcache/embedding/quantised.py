"""A network's weight matrices as int8, for OpenVINO to multiply by activations that it quantises as they come.

The scheme: a matrix is cut along its input channels into groups of 64. Each group of each output channel has a scale
of its own, a 127th of its largest magnitude, and no zero point (symmetric). At each forward pass OpenVINO cuts every
token's activations into groups of 64 likewise, gives each group a scale and multiplies int8 by int8: sums of 64
products are exact integers, and what is added up in float32 is one number a group. A token's scales are its own, so
the batch's other texts don't enter; and no texts are needed to calibrate anything. (Padding alone moves the last bits
of softmax's float32 sums, as it does without any of this; here they may tip a rounding, which moves a vector to a
cosine of .9997 at least.)

Quantised are products with a constant matrix: the attention's queries, keys and output, and the feed-forward layers.
The attention's values stay float32: no softmax dampens them, and they make half of the whole squared error for a
twelfth of the products (measured, MiniLM; a batch takes 9 % longer for them). Embedding tables, the attention's own
products, softmax, layer normalisation, pooling and the unit length stay float32, too.

It is what is known as dynamic quantisation with group-wise scales: Shen et al., Q-BERT, 2020, arXiv:1909.05840, for
groups of weights; Dettmers et al., LLM.int8(), 2022, arXiv:2208.07339, for scales by token. The graph that stands for
it (a constant, converted, multiplied by its scales, reshaped) is what OpenVINO recognises as compressed weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semcache.errors import StartError

if TYPE_CHECKING:
    import types

GROUP = 64
"""Input channels with one scale. Measured on MiniLM: as fast as one scale for the whole row, and nearer to float32."""
DYNAMIC_QUANTISATION = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP}
"""What the compiled network is told, so that activations are quantised and not the weights alone widened again."""
_LARGEST = 127
_ATTENTION = "ScaledDotProductAttention"


def quantise(ov: types.ModuleType, network: Any) -> int:
    """Replaces, in place, each constant float matrix of a product by its int8 form. MiniLM takes about 0.1 s.

    Args:
        ov: the openvino module.
        network: a network as OpenVINO reads or converts it, in float32.

    Returns:
        How many products have int8 weights now.

    Raises:
        StartError: the network has no such product, so that nothing would be gained.
    """
    nodes = network.get_ordered_ops()
    values = {_source(node.input_value(2).get_node()) for node in nodes if node.get_type_name() == _ATTENTION}
    products = [node for node in nodes if _is_quantisable(node) and node.get_friendly_name() not in values]
    if not products:
        raise StartError(
            "embedding.precision is int8 and the embedding model's network multiplies by no constant matrix.",
            hint="Set embedding.precision to auto or fp32.",
        )
    for node in products:
        _replace(ov.opset13, node)
    network.validate_nodes_and_infer_types()
    return len(products)


def grouped(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix (outputs, inputs) as int8 (outputs, groups, size) and scales (outputs, groups, 1), whose product it is.

    No element is further from its own than half a scale. Where 64 doesn't divide the inputs, the whole row is one
    group: measured, that is as fast as groups of 64 and a tenth less exact, while OpenVINO computes with another group
    that divides (32, 112) in float32, or takes two to three times as long.
    """
    outputs, inputs = weights.shape
    size = GROUP if inputs % GROUP == 0 else inputs
    groups = weights.reshape(outputs, inputs // size, size)
    scales = np.abs(groups).max(axis=2, keepdims=True) / np.float32(_LARGEST)
    scales[scales == 0] = 1
    return np.rint(groups / scales).astype(np.int8), scales


def _is_quantisable(node: Any) -> bool:
    if node.get_type_name() != "MatMul":
        return False
    weights = node.input_value(1).get_node()
    return (
        weights.get_type_name() == "Constant"
        and len(weights.get_output_shape(0)) == 2
        and weights.get_output_element_type(0).is_real()
    )


def _source(node: Any) -> str:
    """The name of the operation whose result reaches a node by a bias and another shape alone."""
    while node.get_type_name() in {"Add", "Reshape", "Transpose"}:
        node = node.input_value(0).get_node()
    return str(node.get_friendly_name())


def _replace(op: Any, node: Any) -> None:
    """The same product with int8 weights under the same name; always (outputs, inputs), whichever way they lay."""
    attributes = node.get_attributes()
    weights = np.asarray(node.input_value(1).get_node().data, dtype=np.float32)
    if not attributes["transpose_b"]:
        weights = np.ascontiguousarray(weights.T)
    numbers, scales = grouped(weights)
    if numbers.shape[1] == 1:  # a scale for each row is recognised without a group's dimension alone
        numbers, scales = numbers[:, 0], scales[:, 0]
    widened = op.multiply(op.convert(op.constant(numbers), "f32"), op.constant(scales))
    if numbers.ndim == 3:
        widened = op.reshape(widened, op.constant(np.array(weights.shape, dtype=np.int64)), special_zero=False)
    product = op.matmul(node.input_value(0), widened, attributes["transpose_a"], True)
    product.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(product.output(0))
