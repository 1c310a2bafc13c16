"""The operators that our exporter writes, and so the only ones that a graph of others may have. Any process.

None runs another graph (If, Loop, Scan), none draws random numbers, none reads a file; com.microsoft has those of our own hook
(docs/decisions/0002) and of int8 (docs/decisions/0009).
"""

from __future__ import annotations

CONTRIB = "com.microsoft"
OPERATORS: dict[str, frozenset[str]] = {
    "": frozenset(
        {
            *("Abs", "Add", "And", "Cast", "Clip", "Concat", "ConstantOfShape", "Cos", "Div", "Equal", "Erf"),
            *("Exp", "Expand", "Gather", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "Identity"),
            *(
                "LayerNormalization",
                "Less",
                "LessOrEqual",
                "Log",
                "MatMul",
                "Max",
                "Min",
                "Mul",
                "Neg",
                "Not",
                "Or",
            ),
            *("Pad", "Pow", "QuantizeLinear", "RMSNormalization", "Reciprocal", "ReduceMax", "ReduceMean"),
            *(
                "ReduceMin",
                "ReduceSum",
                "Relu",
                "Reshape",
                "Shape",
                "Sigmoid",
                "SimplifiedLayerNormalization",
            ),
            *(
                "Sin",
                "Slice",
                "Softmax",
                "Split",
                "Sqrt",
                "Squeeze",
                "Sub",
                "Tanh",
                "Transpose",
                "Unsqueeze",
                "Where",
            ),
        }
    ),
    CONTRIB: frozenset({"GroupQueryAttention", "MatMulIntegerToFloat", "PagedAttention"}),
}
"""By domain."""
SIZED_BY_INPUT = {"ConstantOfShape": 0, "Expand": 1, "Pad": 1}
"""Operators that make as much as one of their inputs says, and which one."""
