"""The import rules of the house: an arrow never turns back."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "rushlight"

# Floors from the ground up; a file may import from its own floor and from those below.
FLOORS = [
    {"_core", "dtypes", "errors"},
    {"autograd"},
    {"ops"},
    {"formatting", "backends", "config", "tensor", "accelerator", "cuda", "jit"},
    {"nn", "optim", "data", "serialization"},
    {"utils", "compiler", "models", "train", "cli", "__main__"},
]
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}
MAY_USE_CORE = (
    "autograd/sums.py",
    "autograd/blocked.py",
    "ops/",
    "optim/",
    "compiler/",
    "backends.py",
    "config.py",
    "errors.py",
)

CPP_FLOORS = {"simd": 0, "kernels": 1, "runtime": 2, "bindings": 3}
KERNEL_HEADERS = {"float.h", "math.h", "stddef.h", "stdint.h", "string.h"}

needs_sources = pytest.mark.skipif(not PACKAGE.is_dir(), reason="the source tree is not here")


def _python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_dotted(path): path for path in _python_files()} | {"rushlight._core": PACKAGE}


def _type_only(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes under ``if TYPE_CHECKING:``, which do not run."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.update(inner for child in node.body for inner in ast.walk(child))
    return found


def _imports(path: Path) -> list[tuple[str, int]]:
    """Return the modules of the package that `path` imports when it runs, with line numbers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = _type_only(tree)
    found = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append((inner if inner in MODULES else base, node.lineno))
    return [(name, line) for name, line in found if name.split(".")[0] == "rushlight"]


@needs_sources
@pytest.mark.parametrize("path", _python_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_floors(path: Path) -> None:
    module = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if path == PACKAGE / "__init__.py":
        return
    assert module in FLOOR_OF, f"{module} stands on no floor: add it to FLOORS"
    for name, line in _imports(path):
        target = name.split(".")[1] if "." in name else ""
        assert target in FLOOR_OF, f"{path.name}:{line} imports {name}, which is no module"
        assert FLOOR_OF[target] <= FLOOR_OF[module], f"{path.name}:{line} turns back to {name}"
        if target == "_core":
            relative = path.relative_to(PACKAGE).as_posix()
            assert relative.startswith(MAY_USE_CORE), f"{relative}:{line} imports _core"


@needs_sources
def test_no_import_cycles() -> None:
    """Files, not packages: a cycle inside one package is a cycle too."""
    edges = {
        name: {target for target, _ in _imports(path) if target != name}
        for name, path in MODULES.items()
        if name not in ("rushlight", "rushlight._core")
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for target in edges.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@needs_sources
def test_imports_inside_functions_are_optional_extras_only() -> None:
    for path in _python_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for node in ast.walk(function):
                    names = (
                        [alias.name for alias in node.names]
                        if isinstance(node, ast.Import)
                        else [node.module or ""]
                        if isinstance(node, ast.ImportFrom)
                        else []
                    )
                    own = [name for name in names if name.startswith("rushlight")]
                    assert not own, f"{path}:{node.lineno} hides an import of {own}"


def _includes(path: Path) -> list[tuple[str, str]]:
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE)


@needs_sources
@pytest.mark.parametrize("floor", CPP_FLOORS)
def test_cpp_floors(floor: str) -> None:
    files = sorted([*(ROOT / "cpp" / floor).glob("*.h"), *(ROOT / "cpp" / floor).glob("*.cpp")])
    assert files
    for path in files:
        for kind, name in _includes(path):
            if kind == '"':
                target = name.split("/")[0] if "/" in name else floor
                assert CPP_FLOORS[target] <= CPP_FLOORS[floor], f"{path.name} turns back to {name}"
            elif floor in ("simd", "kernels"):
                assert name in KERNEL_HEADERS, f"{path.name} includes <{name}>"
            if "pybind11" in name:
                assert floor == "bindings", f"{path.name} knows pybind11"


@needs_sources
@pytest.mark.parametrize("word", ["std::", "throw ", "malloc", "new ", "printf", "_mm"])
def test_kernels_are_plain(word: str) -> None:
    """No templates of std that another instruction set could share, no exceptions, no heap."""
    for path in [*(ROOT / "cpp" / "kernels").iterdir(), *(ROOT / "cpp" / "simd").iterdir()]:
        code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        assert word not in code, f"{path.name} uses {word!r}"


@needs_sources
def test_no_file_is_over_500_lines() -> None:
    for folder in ("cpp", "python", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".pyi", ".h", ".cpp"):
                count = len(path.read_text(encoding="utf-8").splitlines())
                assert count <= 500, f"{path.relative_to(ROOT)} has {count} lines"


# NumPy and what it brings, and what an editable install or the environment adds.
ALLOWED = {"numpy", "cython_runtime", "rushlight", "scikit_build_core", "sitecustomize"}


def test_import_needs_numpy_only() -> None:
    code = (
        "import sys, rushlight\n"
        "found = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "found = {name for name in found if not name.startswith('_')}\n"
        "print(sorted(found))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(out.stdout.strip())) <= ALLOWED
