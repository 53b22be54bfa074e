"""A script → the wrapper that public submissions count as their code: packed text and a short stub.

Comments and layout are taken away, the rest is compressed and written in base 85; the stub decodes
and runs it under the script's own name, its lines known to `inspect`, without which compilers of
kernels (Triton) find no source. LZMA alone is used, so that the figure is the same on every
machine. Tools that rename and reorder code pack a tenth smaller: the size is an upper bound.
"""

import ast
import base64
import lzma

# The layout of text: no alignment of bytes, four preceding bits of context. Preset 9 gains nothing,
# and a dictionary longer than the longest script costs time alone.
_FILTERS = [{"id": lzma.FILTER_LZMA1, "preset": 6, "lc": 4, "pb": 0, "dict_size": 1 << 19}]
_STUB = """import base64,linecache,lzma
s=lzma.decompress(base64.b85decode("{packed}")).decode()
linecache.cache[__file__]=len(s),None,s.splitlines(True),__file__
exec(compile(s,__file__,"exec"))
"""


def wrapped(text: str, tree: ast.Module) -> bytes:
    """The script itself where that is smaller, else a wrapper that runs the same code.

    Args:
        text: The script as shipped.
        tree: What it parses to.
    """
    shipped = text.encode("utf-8", "surrogatepass")
    return min(shipped, _wrapper(_without_layout(tree) or text), key=len)


def _wrapper(text: str) -> bytes:
    packed = lzma.compress(text.encode(), format=lzma.FORMAT_ALONE, filters=_FILTERS)
    return _STUB.format(packed=base64.b85encode(packed).decode()).encode()


def _without_layout(tree: ast.Module) -> str | None:
    """The same code without comments; None where Python cannot write it down."""
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError, MemoryError):  # quotes in quotes, too deep
        return None
