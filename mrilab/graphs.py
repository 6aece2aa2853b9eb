"""A function of tensors as a CUDA graph: its kernels are recorded once and then started all together.

A small network on a large card waits for Python, which starts some thousand kernels a step; a recorded step is one
call. Elsewhere, or where recording fails, the function is simply called.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch


class Recorded:
    """Call a function of tensors by its graph, one for each set of shapes.

    The function must do the same at every call but for the values of its inputs, and must not wait for the device. What
    it returns, a tensor or a list of them, holds until the next call with inputs of the same shapes.

    Parameters
    ----------
    function : callable
    device : torch.device

    Examples
    --------
    >>> twice = Recorded(lambda x: 2 * x, torch.device("cpu"))
    >>> twice(torch.ones(2)), twice.graphs
    (tensor([2., 2.]), {})
    """

    def __init__(self, function: Callable, device: torch.device) -> None:
        self.function, self.possible = function, device.type == "cuda"
        self.graphs: dict[tuple, tuple] = {}

    def __call__(self, *inputs: torch.Tensor) -> Any:
        shapes = tuple(t.shape for t in inputs)
        if self.possible and shapes not in self.graphs:
            try:
                self.graphs[shapes] = self._record(inputs)
            except torch.cuda.OutOfMemoryError:
                self.graphs.clear()
                raise
            except RuntimeError as error:
                self.possible = False
                warnings.warn(f"no CUDA graph ({str(error).splitlines()[0]}): each kernel is started by itself",
                              stacklevel=2)
        if not self.possible:
            return self.function(*inputs)
        graph, held, result = self.graphs[shapes]
        for place, values in zip(held, inputs):
            place.copy_(values)
        graph.replay()
        return result

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> tuple:
        """Three calls on a stream of its own, as recording asks for, then the one that is kept."""
        held = [t.clone() for t in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.function(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self.function(*held)
        return graph, held, result
