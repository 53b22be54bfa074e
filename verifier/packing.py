"""A script → the wrapper that public submissions count as their code: packed text and a short stub.

Comments and layout are taken away, the rest is compressed and written in base 85; the stub decodes
and runs it under the script's own name, its lines known to `inspect`, without which compilers of
kernels (Triton) find no source. LZMA alone is used, so that the figure is the same on every
machine. Tools that rename and reorder code pack a tenth smaller: the size is an upper bound.
"""

import ast
import base64
import lzma
from pathlib import PurePosixPath

from verifier.literal_evaluation import Files
from verifier.python_source import same_code
from verifier.unpacking import unpack

# The layout of text: no alignment of bytes, four preceding bits of context. Preset 9 gains nothing.
_FILTERS = [{"id": lzma.FILTER_LZMA1, "preset": 6, "lc": 4, "pb": 0}]
_STUB = """import base64,linecache,lzma
s=lzma.decompress(base64.b85decode("{packed}")).decode()
linecache.cache[__file__]=len(s),None,s.splitlines(True),__file__
exec(compile(s,__file__,"exec"))
"""


def wrapped(text: str, tree: ast.Module) -> bytes:
    """The script itself where that is smaller, else a wrapper that runs the same code.

    That it does is proved before it is returned: our own reader of packed scripts gets the packed
    text back, and that text parses to the same tree.

    Args:
        text: The script as shipped.
        tree: What it parses to.
    """
    shipped = text.encode("utf-8", "surrogatepass")
    for candidate in (_without_layout(tree), text):
        if candidate is not None:
            wrapper = _wrapper(candidate)
            if len(wrapper) < len(shipped) and _runs(wrapper) == candidate:
                return wrapper
    return shipped


def _wrapper(text: str) -> bytes:
    packed = lzma.compress(text.encode(), format=lzma.FORMAT_ALONE, filters=_FILTERS)
    return _STUB.format(packed=base64.b85encode(packed).decode()).encode()


def _runs(wrapper: bytes) -> str | None:
    """The code that a wrapper runs, as our reader of packed scripts sees it."""
    files = Files(read=lambda _: None)
    unpacked = unpack(ast.parse(wrapper), PurePosixPath("wrapper.py"), files)
    return unpacked.packed[0].text if len(unpacked.packed) == 1 else None


def _without_layout(tree: ast.Module) -> str | None:
    """The same code without comments; None where Python cannot write it down."""
    try:
        text = ast.unparse(tree)
        return text if same_code(ast.parse(text), tree) else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # quotes in quotes, too deep
        return None
