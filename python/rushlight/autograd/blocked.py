"""Images in blocks of channels: what operations hand to each other in the place of an array.

Convolutions work on vectors of channels. Turning their results back into planes, and turning those
again for the next layer, would take as long as the products of a small layer, so a result stays as
it is until somebody asks for its array: see ``TensorBase._blocks``. Operations that take blocks say
so (``Node.takes_blocks``); all others get arrays, as the user does.
"""

from rushlight._core import Blocked

__all__ = ["Blocked"]
