"""A script in fewer bytes: a short stub that unpacks and runs it."""

import ast
import base64
import lzma

LINE_NAME = "<train_gpt>"  # what tracebacks and tools that ask for the source call it

STUB = """\
# {title}
# Packed; {readable} beside it is the same program, with its comments.
import base64, linecache, lzma
source = lzma.decompress(base64.b85decode("{packed}")).decode()
linecache.cache["{name}"] = len(source), None, source.splitlines(True), "{name}"
exec(compile(source, "{name}", "exec"))
"""


def pack_script(source: str, title: str, readable_name: str) -> str:
    """A script that runs as `source` does; the same bytes for the same input.

    Comments and docstrings are left out, the rest is compressed (xz) and written in base 85.

    Args:
        source: the readable script.
        title: what it is, in a line.
        readable_name: the file beside it that holds `source`.
    """
    bare = without_comments(source).encode()
    packed = lzma.compress(bare, check=lzma.CHECK_NONE, preset=9 | lzma.PRESET_EXTREME)
    return STUB.format(
        title=" ".join(title.split()),
        readable=readable_name,
        packed=base64.b85encode(packed).decode(),
        name=LINE_NAME,
    )


def without_comments(source: str) -> str:
    """The same program without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
