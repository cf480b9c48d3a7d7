"""``compile``: a module as a callable that runs plans."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.grad_mode import state as mode
from rushlight.autograd.inplace import check_in_place, check_place, check_writable
from rushlight.autograd.tape import unfollowed
from rushlight.compiler.errors import CompileError
from rushlight.compiler.explain import Explanation, explain
from rushlight.compiler.graph import Constant, Graph, Slot
from rushlight.compiler.passes import optimise
from rushlight.compiler.profiler import Event, Profile
from rushlight.compiler.program import Program
from rushlight.compiler.recorder import Recorder
from rushlight.compiler.structure import filled, leaves_of, signature
from rushlight.compiler.trace import Trace, trace
from rushlight.compiler.watch import Structure, Watch
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, is_lazy

__all__ = ["Compiled", "compile"]


@dataclass(eq=False)
class _Entry:
    """The plan for one kind of call, and what it was made from."""

    trace: Trace
    program: Program
    watch: Watch = field(default_factory=Watch)
    # Whether the result is one tensor and no input is changed; then also the plan, if it is all.
    is_plain: bool = field(init=False)
    only_plan: _core.Plan | None = field(init=False)

    def __post_init__(self) -> None:
        self.is_plain = isinstance(self.trace.result, Slot) and not self.trace.written
        self.only_plan = self.program.only_plan if self.is_plain else None


class Compiled:
    """A module whose evaluation runs plans; made by :func:`compile`.

    Attributes
    ----------
    module : Module
        The module itself; other attributes are looked up there.
    """

    def __init__(
        self, module: Module, *, max_plans: int, ignore_hooks: bool, release_source: bool
    ) -> None:
        self.module = module
        self._max_plans = max_plans
        self._ignore_hooks = ignore_hooks
        self._release_source = release_source
        self._lock = threading.RLock()
        self._entries: OrderedDict[Any, _Entry] = OrderedDict()
        self._forget_weights()
        self._structure: Structure | None = None
        # The plan that ran last; as long as the modules are what they were, also what to try first.
        self._last: _Entry | None = None
        self._first_try: _Entry | None = None
        self._released = False

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Return what the module returns.

        The first call for a combination of shapes and types makes a plan. While gradients are
        recorded or a module is in training mode, the module itself runs.

        Parameters
        ----------
        *args, **kwargs
            Those of the module's forward.
        out : Tensor or tree of Tensor, optional
            Where the results go, in the structure in which they are returned; without it every
            call returns new memory.
        """
        if mode.direct and out is None and len(args) == 1 and not kwargs:
            result = self._again(args[0])
            if result is not None:
                return result
        tape = mode.tape
        # What records a forward sees the module's own operations.
        eager = mode.enabled or isinstance(tape, Recorder)
        entry = None if eager else self._entry(args, kwargs)
        if entry is None:
            if self._released:
                raise RuntimeError(
                    "compile: the parameters were let go (release_source=True): only evaluation "
                    "under no_grad is left"
                )
            result = self.module(*args, **kwargs)
            return result if out is None else _copied_to(out, result)
        if tape is None:
            return self._run(entry, args, kwargs, out)
        plan = entry
        return tape.call(
            lambda *_: self._run(plan, args, kwargs, out), Compiled, (*leaves_of((args, kwargs)),)
        )

    # -- plans --------------------------------------------------------------------------------

    def _again(self, argument: Any) -> Any:
        """Return the result where a call is like the last, in as few steps as can tell; or None."""
        entry, structure = self._first_try, self._structure
        if entry is None or entry.only_plan is None or not isinstance(argument, TensorBase):
            return None
        if structure is None or structure.has_changed() or structure.training:
            return None
        if entry.watch.is_stale():
            return None
        result = entry.only_plan.run_again(argument._array)
        return None if result is None else wrap(result)

    def _entry(self, args: Any, kwargs: Any) -> _Entry | None:
        """Return the plan for a call, made where there is none; None where the module is to run."""
        structure = self._structure
        if structure is None or structure.has_changed():
            structure = self._look_again()
        if structure.training:
            return None
        if not kwargs and len(args) == 1 and isinstance(args[0], TensorBase):
            array = args[0]._array
            key: Any = (array.shape, array.dtype.char, _core.isa(), _core.get_winograd())
        else:
            key = (signature((args, kwargs)), _core.isa(), _core.get_winograd())
        entry = self._entries.get(key)
        if entry is None or entry.watch.is_stale():
            with self._lock:
                entry = self._made(key, args, kwargs)
        elif self._last is not entry:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
                self._last = self._first_try = entry
        return entry

    def _look_again(self) -> Structure:
        """Forget all plans: the modules are no longer what they were."""
        with self._lock:
            self._first_try = None
            self._structure = structure = Structure(self.module)
            self._entries.clear()
            self._forget_weights()
        return structure

    def _forget_weights(self) -> None:
        """Let prepared weights go, which are known by name: a parameter holds other values."""
        self._weights = _core.PlanWeights()
        self._weights_watch = Watch()

    @unfollowed()
    def _made(self, key: Any, args: Any, kwargs: Any) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and not entry.watch.is_stale():
            return entry  # another thread was faster
        if self._released:
            raise CompileError(
                "compile: the parameters were let go (release_source=True): only calls like the "
                "first one work, with inputs of the same shapes and types"
            )
        if any(map(is_lazy, (*self.module.parameters(), *self.module.buffers()))):
            return None  # the first call of the module itself gives them their shapes
        if self._weights_watch.is_stale():
            self._forget_weights()
        if entry is None or not _still_fits(entry.trace):
            found = trace(self.module, args, kwargs, self._ignore_hooks, self._release_source)
        else:
            found = entry.trace
        entry = self._planned(found)
        if self._release_source:
            self._release(entry)
        self._entries[key] = self._last = self._first_try = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_plans:
            self._entries.popitem(last=False)
        # A forward may set attributes: that is no change that came from outside.
        self._structure = Structure(self.module)
        return entry

    def _planned(self, found: Trace) -> _Entry:
        """Read the constants of a record as they are now, and make a plan."""
        watch = Watch()
        for constant in found.constants:
            constant.read_again()
        if not self._release_source:  # a watch keeps what it saw
            watch.add(found.constants)
            # Others are named after what they hold, so that no other contents go by their names.
            self._weights_watch.add(each for each in found.constants if each.is_named)
        graph = found.graph.copy()
        optimise(graph)
        used = _Releaser(graph) if self._release_source else None
        return _Entry(found, Program.build(graph, self._weights, used), watch)

    def _release(self, entry: _Entry) -> None:
        """Let go the memory of all parameters; what a plan reads as it is, the plan holds."""
        for parameter in self.module.parameters():
            _empty(parameter)
        read = _read_as_they_are(entry.program.graph)
        for constant in entry.trace.constants:
            if constant.tensor is not None and constant not in read:
                constant.array = constant.tensor._array
        entry.watch = Watch()
        entry.watch.add(entry.trace.constants)
        self._released = True

    # -- running ------------------------------------------------------------------------------

    def _run(self, entry: _Entry, args: Any, kwargs: Any, out: Any) -> Any:
        if not kwargs and len(args) == 1 and isinstance(args[0], TensorBase):
            if out is None and entry.is_plain:  # most calls
                return wrap(entry.program.run((args[0]._array,))[0])
            leaves = list(args)
        else:
            leaves = leaves_of((args, kwargs))
        arrays = [each._array for each in leaves]
        for number in entry.trace.written:
            check_writable(leaves[number], "compile: an input that the forward changes")
        places = None if out is None else _places(out, entry, arrays)
        results = entry.program.run(arrays, places)
        if entry.trace.written:
            _write_back(entry.trace.written, leaves, results)
        if out is None:
            return filled(entry.trace.result, lambda number: wrap(results[number]))
        if places is None:
            made = filled(entry.trace.result, lambda number: wrap(results[number]))
            return _copied_to(out, made)
        for each in leaves_of(out):
            each._bump_version()
        return out

    # -- what was made ------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """Return the steps of the plan that ran last, with the time of each in that run.

        Raises
        ------
        RuntimeError
            Before the first call.
        """
        if self._last is None:
            raise RuntimeError(
                "explain: nothing is compiled yet: call it once, under no_grad and in eval mode"
            )
        return explain(self._last.program, self._weights)

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """Return the time of each step of one call, which runs after another to warm up.

        Where a large batch runs in portions, the steps are those of the last.

        Raises
        ------
        RuntimeError
            When the module itself would run: gradients are recorded, or it is in training mode.
        """
        entry = None if mode.enabled else self._entry(args, kwargs)
        if entry is None:
            raise RuntimeError("profile: plans run under no_grad and in evaluation mode only")
        for _ in range(2):
            self._run(entry, args, kwargs, None)
        events, start = [], 0.0
        for row in explain(entry.program, self._weights).rows:
            details = {"module": row.path, "shapes": row.shapes, "algorithm": row.algorithm}
            seconds = row.seconds or 0.0
            events.append(Event(row.operations, start, seconds, threading.get_ident(), details))
            start += seconds
        return Profile(events)

    # -- as the module ------------------------------------------------------------------------

    def train(self, training: bool = True) -> Compiled:
        """Set the mode of the module; in training mode the module itself runs."""
        self.module.train(training)
        return self

    def eval(self) -> Compiled:
        """Leave training mode."""
        return self.train(False)

    def __getattr__(self, name: str) -> Any:
        if name == "module":  # not set yet, as when it is copied
            raise AttributeError(name)
        return getattr(self.module, name)

    def __reduce__(self) -> Any:
        """Copy and pickle the module; plans are made again."""
        return _again, (self.module, self._max_plans, self._ignore_hooks, self._release_source)

    def __repr__(self) -> str:
        return f"Compiled({self.module!r})"


class _Releaser:
    """Lets a weight go as soon as the last node that it belongs to has its steps."""

    def __init__(self, graph: Graph) -> None:
        weights = [part.settings.get("weight") for node in graph.nodes for part in node.parts]
        self._left = Counter(id(each.tensor) for each in weights if each is not None)
        self._read = _read_as_they_are(graph)

    def __call__(self, constant: Constant) -> None:
        """Note that a node with this weight is done."""
        tensor = constant.tensor
        self._left[id(tensor)] -= 1
        if isinstance(tensor, Parameter) and not self._left[id(tensor)]:
            _empty(tensor)
            if constant not in self._read:
                constant.array = tensor._array


def _read_as_they_are(graph: Graph) -> set[Constant]:
    """Return the constants that nodes read when they run."""
    values = [each for node in graph.nodes for each in node.inputs]
    return {each.constant for each in values if each.constant is not None}


def _empty(parameter: Parameter) -> None:
    """Put one NaN, repeated to its shape, in the place of a parameter's values."""
    nothing = np.array(np.nan).astype(parameter._array.dtype)
    parameter._array = np.broadcast_to(nothing, parameter._array.shape)
    parameter._storage.prepared = None


def _places(out: Any, entry: _Entry, inputs: list[Array]) -> list[Array] | None:
    """Return the memory of `out` where a plan can write to it directly, else None."""
    values = entry.program.results
    arrays = [each._array for each in leaves_of(out)]
    if mode.enabled or entry.trace.written or len(arrays) != len(values):
        return None
    for array, value in zip(arrays, values, strict=True):
        flags = array.flags
        if (
            (array.shape, array.dtype) != value
            or not (flags.c_contiguous and flags.aligned and flags.writeable)
            or any(np.may_share_memory(array, each) for each in inputs)
            or sum(np.may_share_memory(array, each) for each in arrays) != 1
        ):
            return None
    return arrays


def _copied_to(out: Any, result: Any) -> Any:
    """Write results to the tensors that the caller gave for them, and return those.

    Raises
    ------
    ValueError, TypeError
        When they are not as many, or shapes or types differ.
    """
    targets, values = leaves_of(out), leaves_of(result)
    if len(targets) != len(values):
        raise OperationError(
            f"compile: out must hold {len(values)} tensors, but holds {len(targets)}"
        )
    for target, value in zip(targets, values, strict=True):
        check_writable(target, "compile: out")
        if mode.enabled:
            check_in_place(target, "compile: out")
        check_place(target._array, value._array.shape, value._array.dtype, "compile: out")
    for target, value in zip(targets, values, strict=True):
        np.copyto(target._array, value._array)
        target._bump_version()
    return out


def _still_fits(found: Trace) -> bool:
    """Return whether a record holds when its constants have other values now."""
    if found.looked:
        return False
    for constant in found.constants:
        tensor = constant.tensor
        if tensor is not None and (tensor._array.shape, tensor._array.dtype) != (
            constant.array.shape,
            constant.array.dtype,
        ):
            return False
    return True


def _again(module: Module, max_plans: int, ignore_hooks: bool, release_source: bool) -> Compiled:
    return Compiled(
        module, max_plans=max_plans, ignore_hooks=ignore_hooks, release_source=release_source
    )


def _write_back(written: list[int], leaves: list[TensorBase], results: list[Array]) -> None:
    """Put the new values of inputs that the forward changes where a caller expects them."""
    values = results[-len(written) :]
    for number, value in zip(written, values, strict=True):
        np.copyto(leaves[number]._array, value)
        leaves[number]._bump_version()
    del results[-len(written) :]


def compile(
    module: Module,
    *,
    max_plans: int = 16,
    ignore_hooks: bool = False,
    release_source: bool = False,
    **options: Any,
) -> Compiled:
    """Return a callable that evaluates a module by plans made ahead.

    The first call for a combination of shapes and types records the forward, joins what can be
    done at once (batch norms become part of weights, activations and sums part of convolutions),
    plans the memory, and runs; later calls only run: Python code of the forward, such as a print,
    runs in the first one, and what it takes from outside of tensors (a global number, a NumPy
    array) is read then. A parameter or buffer that changed is read again at the next call.

    Parameters
    ----------
    module : Module
    max_plans : int
        How many plans are kept; the one that was not used for the longest time goes first.
    ignore_hooks : bool
        Leave out forward hooks instead of refusing them.
    release_source : bool
        Let go the parameters that plans hold in another form: only calls of the shapes of the
        first one work then, and the module itself no longer runs.
    **options
        PyTorch's ``fullgraph``, ``dynamic``, ``backend``, ``mode``, ``options`` and ``disable``,
        accepted for ported code.

    Returns
    -------
    Compiled

    Raises
    ------
    TypeError
        When `module` is no Module, or for an unknown option.

    Examples
    --------
    >>> model = rushlight.models.resnet18().eval()
    >>> fast = rushlight.compile(model)
    >>> with rushlight.no_grad():
    ...     scores = fast(rushlight.randn(1, 3, 224, 224))
    """
    if not isinstance(module, Module):
        raise TypeError(f"compile: module must be a Module, but got {type(module).__name__}")
    unknown = options.keys() - _PORTED
    if unknown:
        raise TypeError(f"compile: unknown option {sorted(unknown)[0]!r}")
    if max_plans < 1:
        raise ValueError(f"compile: max_plans must be at least 1, but got {max_plans}")
    return _again(module, max_plans, ignore_hooks, release_source)


_PORTED = {"fullgraph", "dynamic", "backend", "mode", "options", "disable"}
