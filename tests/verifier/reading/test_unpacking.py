"""Packed scripts are read by evaluating literals, within limits, and never by running them."""

import base64
import lzma
import re
import zlib

import pytest

from verifier.intake.submission import load_submission
from verifier.reading.program import load_program

SOURCE = "import torch\nval_bpb = 1\n"


def program_of(tmp_path, script, **others):
    (tmp_path / "train_gpt.py").write_text(script)
    for name, content in others.items():
        (tmp_path / name.replace("__", ".")).write_bytes(content)
    return load_program(load_submission(tmp_path))


def b85(data):
    return base64.b85encode(data).decode()


RAW = lzma.compress(SOURCE.encode(), format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
LZMA, ZLIB = b85(lzma.compress(SOURCE.encode())), base64.b64encode(zlib.compress(SOURCE.encode()))
STUBS = {
    "aliases": f"import lzma as L,base64 as B\nexec(L.decompress(B.b85decode({LZMA!r})))",
    "raw filters": "import lzma as L,base64 as B\nexec(L.decompress(B.b85decode("
    f"{b85(RAW)!r}),format=L.FORMAT_RAW,filters=[{{'id':L.FILTER_LZMA2}}]))",
    "from imports": "from zlib import decompress as d\nfrom base64 import b64decode\n"
    f"exec(compile(d(b64decode({ZLIB!r})).decode(), __file__, 'exec'))",
    "joined pieces": "import zlib,base64\n_D=["
    + ",".join(repr(ZLIB[i : i + 9]) for i in range(0, len(ZLIB), 9))
    + "]\nexec(zlib.decompress(base64.b64decode(b''.join(_D))))",
    "lambda": "import zlib,base64\nf=lambda s: zlib.decompress(base64.b64decode(s))\n"
    f"exec(f({ZLIB!r}))",
    "obfuscated import": f"z=__import__('zl'+'ib')\ne=getattr(__import__('builtins'),'ex'+'ec')\n"
    f"e(z.decompress(__import__('base64').b64decode({ZLIB!r})))",
    "xor": f"d={bytes(b ^ 7 for b in SOURCE.encode())!r}\nexec(bytes(b^7 for b in d))",
    "own payload": "import pathlib,base64,zlib\nt=pathlib.Path(__file__).read_text()\n"
    "exec(zlib.decompress(base64.b64decode(t.split('#PAY'+'LOAD:')[1])))\n"
    f"#PAYLOAD:{ZLIB.decode()}",
    "written and run": "import runpy,os,tempfile,zlib,base64\nd=tempfile.mkdtemp()\n"
    "f=os.path.join(d,'inner.py')\nwith open(f,'wb') as o:o.write("
    f"zlib.decompress(base64.b64decode({ZLIB!r})))\nrunpy.run_path(f,run_name='__main__')",
    "written under its own name": "import runpy,os,tempfile,zlib,base64\n"
    "f=os.path.join(tempfile.mkdtemp(),'train_gpt.py')\nopen(f,'wb').write("
    f"zlib.decompress(base64.b64decode({ZLIB!r})))\nrunpy.run_path(f)",
    "function": "import zlib,base64\ndef main():\n    s=base64.b64decode("
    f"{ZLIB!r})\n    exec(zlib.decompress(s))\nmain()",
}


@pytest.mark.parametrize("stub", STUBS.values(), ids=STUBS)
def test_packed_code_is_read(tmp_path, stub):
    program = program_of(tmp_path, stub)
    assert not program.opaque
    unpacked = program.modules[1]
    assert (unpacked.text, unpacked.depth) == (SOURCE, 1)
    assert unpacked.place(unpacked.tree.body[1]) == ("train_gpt.py (unpacked)", 2)


def test_code_packed_twice_is_read(tmp_path):
    inner = f"import zlib,base64\nexec(zlib.decompress(base64.b64decode({ZLIB!r})))"
    outer = f"exec({inner!r})"
    assert [m.depth for m in program_of(tmp_path, outer).modules] == [0, 1, 2]


def test_a_blob_in_the_folder_is_read(tmp_path):
    stub = "import lzma,pathlib\nexec(lzma.decompress(pathlib.Path(__file__)"
    stub += ".with_suffix('.xz').read_bytes()))"
    program = program_of(tmp_path, stub, train_gpt__xz=lzma.compress(SOURCE.encode()))
    assert program.modules[1].text == SOURCE


def test_every_call_of_a_loader_is_read(tmp_path):
    script = "def load(source):\n    exec(source)\nload('a = 1')\nload('b = 2')\n"
    assert [m.text for m in program_of(tmp_path, script).modules[1:]] == ["a = 1", "b = 2"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import marshal\nexec(marshal.loads(b'abc'))", "marshal"),
        ("import os\nexec(os.environ['CODE'])", "os.environ"),
        ("exec(open('../other.py').read())", "out of the folder"),
        ("exec(open('/root/other.py').read())", "not in the folder"),
        ("import urllib.request as u\nexec(u.urlopen('http://x').read())", "urllib.request"),
        ("import zlib\nexec(zlib.decompress(b'no stream'))", "zlib"),
        ("def run(s):\n    exec(s)\nrun('a = 1')\nrun(input())", "input"),
        ("e = exec\nif input():\n    s = 'a'\nelse:\n    s = 'b'\ne(s)", "two values"),
    ],
)
def test_what_cannot_be_read_says_at_which_step(tmp_path, script, reason):
    (opaque,) = program_of(tmp_path, script).opaque
    assert reason in opaque.reason


def bomb():
    data = zlib.compress(zlib.compress(b"\0" * (64 << 20)))
    return f"import zlib\nexec(zlib.decompress(zlib.decompress({data!r})))"


TOO_LARGE, TOO_MANY_STEPS = "a value larger than", "a chain of too many steps"
HOSTILE = {
    "bomb": (bomb(), TOO_LARGE),
    "doubling text": ("s = 'a'\n" + "s = s + s\n" * 60 + "exec(s)", TOO_LARGE),
    "doubling list": (
        "s = ['a']\n" + "s.extend(s)\n" * 60 + "exec(''.join(s))",
        "a list of more than",
    ),
    "nested lists": ("s = ['a']\n" + "s = [s] * 99\n" * 60 + "exec(f'{s}')", "a list made into"),
    "big product": ("exec('a' * 1000000000000)", "a multiplication"),
    "huge loop": (
        "for i in range(1000000):\n  for j in range(1000000):\n    x = 'a'\nexec(x)",
        "a place that the statements before it do not lead to",
    ),
    "huge comprehension": ("exec([i for i in range(1000000)])", TOO_MANY_STEPS),
    "endless recursion": ("f = lambda s: f(s)\nexec(f('a'))", "a call of a function that is not"),
    "deep expression": ("exec(" + "+".join(["'a'"] * 5000) + ")", "recursion|too deeply"),
    "replacements": (
        "s='a'*1000000\n" + "s=s.replace('a','b').replace('b','a')\n" * 999 + "exec(s)",
        TOO_MANY_STEPS,
    ),
}


@pytest.mark.parametrize(("script", "limit"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_code_meets_a_limit_of_the_reader(tmp_path, script, limit):
    [opaque] = program_of(tmp_path, script).opaque
    assert re.search(limit, opaque.reason)


def test_evaluating_never_runs_the_submission(tmp_path):
    target = tmp_path / "ran"
    program_of(tmp_path, f"exec('open({str(target)!r}, \"w\")')\nopen({str(target)!r}, 'w')")
    assert not target.exists()


def test_a_loader_whose_answer_is_kept_is_read_with_what_it_is_called_with(tmp_path):
    script = "def load(name, source):\n    exec(source)\n    return name\n"
    script += (
        "a = load('a', source='one = 1')\ndef main():\n    return load('b', 'two = 2')\nmain()\n"
    )
    program = program_of(tmp_path, script)
    assert not program.opaque
    assert {m.text for m in program.modules[1:]} == {"one = 1", "two = 2"}


def compressed(library, data):
    module = pytest.importorskip(library)
    return module.compress(data)


@pytest.mark.parametrize("library", ["brotli", "zstandard"])
def test_scripts_packed_by_other_libraries_are_read(tmp_path, library):
    packed = b85(compressed(library, SOURCE.encode()))
    stub = f"import {library} as B,base64 as b\nexec(B.decompress(b.b85decode({packed!r})))"
    assert program_of(tmp_path, stub).modules[1].text == SOURCE


@pytest.mark.parametrize("library", ["brotli", "zstandard"])
def test_what_unpacks_to_too_much_is_refused(tmp_path, library):
    packed = b85(compressed(library, bytes(9 << 20)))
    stub = f"import {library} as B,base64 as b\nexec(B.decompress(b.b85decode({packed!r})))"
    [opaque] = program_of(tmp_path, stub).opaque
    assert "larger than" in opaque.reason
