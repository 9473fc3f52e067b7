"""Quantise a network's weight matrices to int8, for OpenVINO to multiply by activations that it quantises at each pass.

- **Scheme.** A matrix is cut along its input channels into groups of 64. Each group of each output channel has a scale
  of its own, a 127th of its largest magnitude, and no zero point (symmetric). At each forward pass OpenVINO cuts every
  token's activations into groups of 64 as well, gives each group a scale and multiplies int8 by int8. A sum of 64
  products is an exact integer; one number a group is added up in float32.
- **No calibration.** A token's scales are its own, so that the batch's other texts don't enter. Only padding moves the
  last bits of softmax's float32 sums, which may tip a rounding: the vector then keeps a cosine of at least .9997.
- **What is quantised.** Products with a constant matrix: the attention's queries, keys and output, and the feed-forward
  layers.
- **What stays float32.** The attention's values, because no softmax dampens their error: they make half of the whole
  squared error for a twelfth of the products (MiniLM; a batch takes 9 % longer for it). Embedding tables, the
  attention's own products, softmax, layer normalisation, pooling and the unit length.

This is known as dynamic quantisation with group-wise scales: Shen et al., Q-BERT, 2020, arXiv:1909.05840, for groups
of weights; Dettmers et al., LLM.int8(), 2022, arXiv:2208.07339, for scales by token. OpenVINO recognises compressed
weights by their graph: a constant, converted, multiplied by its scales, reshaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semcache.errors import StartError

if TYPE_CHECKING:
    import types

GROUP = 64
"""Input channels with one scale: on MiniLM as fast as one scale for the whole row, and nearer to float32."""
DYNAMIC_QUANTISATION = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP}
"""OpenVINO's option that quantises the activations, too; without it the weights would be widened at each pass."""
_LARGEST = 127
"""Magnitude of the largest int8 number in use; −128 isn't, so that the range is symmetric."""
_ATTENTION = "ScaledDotProductAttention"


def quantise(ov: types.ModuleType, network: Any) -> int:
    """Replace, in place, each constant float matrix of a product by its int8 form. MiniLM takes about 0.1 s.

    Args:
        ov: the openvino module.
        network: a network as OpenVINO reads or converts it, in float32.

    Returns:
        The number of products that have int8 weights now.

    Raises:
        StartError: the network has no such product, and nothing would be gained.
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
    """Return int8 numbers (outputs, groups, size) and scales (outputs, groups, 1) whose product is nearly the matrix.

    Each element differs by at most half a scale. Where 64 doesn't divide the inputs, the whole row is one group. That
    is as fast as groups of 64 and a tenth less exact. Other sizes that divide (32, 112) make OpenVINO compute in
    float32, or take two to three times as long.

    Args:
        weights: (outputs, inputs).
    """
    outputs, inputs = weights.shape
    size = GROUP if inputs % GROUP == 0 else inputs
    groups = weights.reshape(outputs, inputs // size, size)
    scales = np.abs(groups).max(axis=2, keepdims=True) / np.float32(_LARGEST)
    scales[scales == 0] = 1
    return np.rint(groups / scales).astype(np.int8), scales


def _is_quantisable(node: Any) -> bool:
    """Return whether the node multiplies by a constant float matrix."""
    if node.get_type_name() != "MatMul":
        return False
    weights = node.input_value(1).get_node()
    return (
        weights.get_type_name() == "Constant"
        and len(weights.get_output_shape(0)) == 2
        and weights.get_output_element_type(0).is_real()
    )


def _source(node: Any) -> str:
    """Return the name of the operation whose result reaches the node with only a bias and another shape in between."""
    while node.get_type_name() in {"Add", "Reshape", "Transpose"}:
        node = node.input_value(0).get_node()
    return str(node.get_friendly_name())


def _replace(op: Any, node: Any) -> None:
    """Replace a product by one of the same name with int8 weights, which are always (outputs, inputs)."""
    attributes = node.get_attributes()
    weights = np.asarray(node.input_value(1).get_node().data, dtype=np.float32)
    if not attributes["transpose_b"]:
        weights = np.ascontiguousarray(weights.T)
    numbers, scales = grouped(weights)
    if numbers.shape[1] == 1:  # OpenVINO recognises a scale for each row only without the dimension of groups
        numbers, scales = numbers[:, 0], scales[:, 0]
    widened = op.multiply(op.convert(op.constant(numbers), "f32"), op.constant(scales))
    if numbers.ndim == 3:
        widened = op.reshape(widened, op.constant(np.array(weights.shape, dtype=np.int64)), special_zero=False)
    product = op.matmul(node.input_value(0), widened, attributes["transpose_a"], transpose_b=True)
    product.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(product.output(0))
