"""Discovery of workflow files, good and bad, and the integration registry."""

import signal
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from runlane.errors import ConfigurationError
from runlane.registry import Discovery, discover, integration, register_integration

HEADER = "from runlane.workflow import workflow\n"


def wf(name: str, function: str | None = None, body: str = "return None") -> str:
    return f'''
@workflow(name="{name}", description="d")
async def {function or name}(context, a: int = 1):
    {body}
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def failures(found: Discovery) -> dict[str, str]:
    return {failure.file: failure.message for failure in found.failures}


def test_every_file_is_imported_and_its_workflows_found(root: Path) -> None:
    write(root, wf_one=HEADER + wf("alpha") + wf("beta"), deep__in__er__in__wf_two=HEADER + wf("gamma"))
    found = discover(root, "blue")
    assert failures(found) == {}
    assert sorted(found.workflows) == ["alpha", "beta", "gamma"]
    manifest = found.workflows["gamma"].manifest
    assert (manifest.source_file, manifest.source_line, manifest.origin) == ("deep/er/wf_two.py", 3, "blue")
    assert found.workflows["alpha"].bind({"a": 2}) == {"a": 2}


def test_a_version_is_that_of_the_files_content(root: Path) -> None:
    write(root, wf_one=HEADER + wf("alpha") + wf("beta"), wf_two=HEADER + wf("gamma"))
    first = discover(root).workflows
    write(root, wf_two=HEADER + wf("gamma", body="return 2"))
    second = discover(root).workflows
    versions = {name: spec.manifest.version for name, spec in first.items()}
    assert versions["alpha"] == versions["beta"] == second["alpha"].manifest.version
    assert versions["gamma"] != second["gamma"].manifest.version
    assert len(versions["alpha"]) == 12


def test_a_changed_file_is_read_anew_even_within_the_same_second(root: Path) -> None:
    for number in range(3):
        write(root, wf_one=HEADER + wf("alpha") + f"\nNUMBER = {number}\n")
        spec = discover(root).workflows["alpha"]
        assert spec.function.__globals__["NUMBER"] == number
    assert not list(root.rglob("__pycache__"))


def test_roots_take_each_others_place(tmp_path: Path) -> None:
    for number in (1, 2):
        root = tmp_path / str(number)
        write(root, wf_same=HEADER + wf("alpha") + f"\nNUMBER = {number}\n")
        found = discover(root)
        assert failures(found) == {}
        assert found.workflows["alpha"].function.__globals__["NUMBER"] == number
    assert str(tmp_path / "1") not in sys.path


def test_files_import_each_other_once(root: Path) -> None:
    write(
        root,
        wf_a="import wf_shared\n" + HEADER + wf("alpha", body="return wf_shared.SEEN"),
        wf_b="from wf_shared import helper, common\n" + HEADER + wf("beta"),
        wf_shared="SEEN = []\nSEEN.append(1)\ndef helper(): ...\n" + HEADER + wf("common"),
    )
    found = discover(root)
    assert failures(found) == {}
    assert found.workflows["common"].manifest.source_file == "wf_shared.py"
    assert found.workflows["alpha"].function.__globals__["wf_shared"].SEEN == [1]


def test_packages_import_relatively(root: Path) -> None:
    write(
        root,
        wf_pack__in____init__="",
        wf_pack__in__part="from .tools import VALUE\n" + HEADER + wf("alpha"),
        wf_pack__in__tools="VALUE = 1\n",
    )
    found = discover(root)
    assert failures(found) == {}
    assert found.workflows["alpha"].manifest.source_file == "wf_pack/part.py"


def test_a_root_that_is_a_package_imports_under_its_name(root: Path) -> None:
    place = root / "wf_house"
    write(
        place,
        __init__="",
        one="from wf_house.two import VALUE\nfrom .two import VALUE\n" + HEADER + wf("alpha"),
        two="VALUE = 1\n",
    )
    found = discover(place)
    assert failures(found) == {}
    assert found.workflows["alpha"].manifest.source_file == "one.py"


def test_tests_hidden_and_private_folders_and_environments_are_left_out(root: Path) -> None:
    bad = "raise RuntimeError('imported')\n"
    write(root, test_wf=bad, conftest=bad, _private__in__x=bad, __pycache____in__x=bad, venv__in__lib__in__x=bad)
    write(root / ".hidden", x=bad)
    (root / "venv" / "pyvenv.cfg").write_text("")
    (root / "notes.txt").write_text("not Python")
    assert discover(root) == Discovery({}, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module_anywhere\n", "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("raise BaseException('odd')\n", "BaseException: odd"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def f(): f()\nf()\n", "RecursionError"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n", "E: (no message)"),
        ("\x00", "source code string cannot contain null bytes"),
        (
            HEADER + '@workflow(name="x", description="d", schedule="nonsense")\nasync def x(context): ...\n',
            "`schedule`",
        ),
        (HEADER + '@workflow(name="x", description="d", shedule="@daily")\nasync def x(context): ...\n', "shedule"),
    ],
)
def test_a_file_that_does_not_import_stops_nothing_else(root: Path, text: str, said: str) -> None:
    write(root, wf_good=HEADER + wf("good"))
    (root / "wf_bad.py").write_text(text)
    found = discover(root, "blue")
    assert list(found.workflows) == ["good"]
    (failure,) = found.failures
    assert (failure.file, failure.origin) == ("wf_bad.py", "blue")
    assert said in failure.message


def test_a_traceback_shows_the_authors_frames_alone(root: Path) -> None:
    write(root, wf_bad="def inner():\n    return {}['missing']\n\ninner()\n")
    (failure,) = discover(root).failures
    assert "return {}['missing']" in failure.traceback
    assert "wf_bad.py" in failure.traceback
    assert "registry.py" not in failure.traceback
    assert "importlib" not in failure.traceback


def test_a_definition_error_says_where(root: Path) -> None:
    write(root, wf_bad=HEADER + '\n@workflow(name="Bad", description="d")\nasync def f(context): ...\n')
    (failure,) = discover(root).failures
    assert failure.message.startswith(f"{root / 'wf_bad.py'}:3: workflow 'Bad': argument `name`: ")


def test_a_name_defined_twice_is_disabled_and_both_places_are_told(root: Path) -> None:
    write(
        root,
        wf_a=HEADER + wf("twin") + wf("other") + wf("second"),
        wf_b=HEADER + wf("twin") + wf("alone"),
        wf_c=HEADER + wf("second"),
    )
    found = discover(root)
    assert sorted(found.workflows) == ["alone", "other"]
    messages = failures(found)
    assert sorted(messages) == ["wf_a.py", "wf_b.py", "wf_c.py"]
    assert "'twin' is defined at wf_a.py:3 and at wf_b.py:3" in messages["wf_b.py"]
    assert "'twin'" in messages["wf_a.py"]
    assert "'second'" in messages["wf_a.py"]


def test_a_name_defined_twice_in_one_file_is_disabled(root: Path) -> None:
    write(root, wf_a=HEADER + wf("twin", "one") + wf("twin", "two") + wf("other"))
    found = discover(root)
    assert list(found.workflows) == ["other"]
    assert list(failures(found)) == ["wf_a.py"]


def test_an_alias_is_no_second_definition(root: Path) -> None:
    write(root, wf_a=HEADER + wf("alpha") + "\nagain = alpha\n")
    assert failures(discover(root)) == {}


def test_a_decorator_above_workflow_is_refused(root: Path) -> None:
    wrapper = (
        "import functools\ndef wrap(f):\n    @functools.wraps(f)\n    def g(*a, **k): return f(*a, **k)\n    return g\n"
    )
    write(root, wf_a=HEADER + wrapper + "@wrap" + wf("alpha"))
    assert "put `@workflow` above all others" in failures(discover(root))["wf_a.py"]


@pytest.mark.parametrize("name", ["json", "email", "msgspec"])
def test_a_file_that_is_named_like_a_library_fails_visibly_and_hides_nothing(root: Path, name: str) -> None:
    before = __import__(name)
    (root / f"{name}.py").write_text(HEADER + wf("alpha"))
    found = discover(root)
    assert found.workflows == {}
    assert "rename the file" in failures(found)[f"{name}.py"]
    assert sys.modules[name] is before


def test_a_dot_in_a_name_fails_visibly(root: Path) -> None:
    (root / "wf.v2.py").write_text(HEADER + wf("alpha"))
    assert "rename it" in failures(discover(root))["wf.v2.py"]


def test_a_dash_in_a_name_is_no_obstacle(root: Path) -> None:
    (root / "wf-onboarding.py").write_text(HEADER + wf("alpha"))
    assert list(discover(root).workflows) == ["alpha"]


def test_a_root_that_does_not_exist_is_one_failure(root: Path) -> None:
    found = discover(root / "nowhere")
    assert found.workflows == {}
    assert "no such directory" in failures(found)[str(root / "nowhere")]


# --- integrations -----------------------------------------------------------------------------------------------------


def test_integrations_are_found_by_name() -> None:
    class Halo: ...

    register_integration("halo_for_this_test", Halo)
    assert integration("halo_for_this_test") is Halo


def test_our_own_integrations_need_no_import_by_the_author() -> None:
    assert integration("msgraph").__module__ == "runlane.integrations.msgraph"
    assert integration("halopsa").__module__ == "runlane.integrations.halopsa"
    with pytest.raises(ConfigurationError, match=r"connectwise, .*halopsa, .*msgraph"):
        integration("graph")


def test_an_authors_integration_stands_in_for_ours_of_that_name(tmp_path: Path) -> None:
    before = integration("halopsa")
    (tmp_path / "wf_halo.py").write_text(
        "from runlane.integrations.halopsa import HaloPSA\n"
        "class Mine(HaloPSA):\n    integration_name = 'halopsa'\n    calls_per_minute = 1\n"
    )
    assert discover(tmp_path).failures == []
    register_integration("halopsa", before)
    assert integration("halopsa").__name__ == "Mine"
    (tmp_path / "wf_halo.py").unlink()
    discover(tmp_path)
    assert integration("halopsa") is before


def test_an_unknown_integration_is_answered_with_those_there_are() -> None:
    class Halo: ...

    register_integration("known_to_this_test", Halo)
    with pytest.raises(ConfigurationError, match="known_to_this_test") as caught:
        integration("unknown_to_this_test")
    assert caught.value.config_key == "unknown_to_this_test"


def test_the_last_integration_of_a_name_wins() -> None:
    class First: ...

    class Second: ...

    register_integration("twice_in_this_test", First)
    register_integration("twice_in_this_test", Second)
    assert integration("twice_in_this_test") is Second


def test_integrations_of_a_former_root_are_forgotten(tmp_path: Path) -> None:
    text = (
        "from runlane.registry import register_integration\nclass Own: ...\nregister_integration('own_to_root', Own)\n"
    )
    write(tmp_path / "one", wf_own=text)
    discover(tmp_path / "one")
    assert integration("own_to_root").__module__ == "wf_own"
    discover(tmp_path / "two")
    write(tmp_path / "three", wf_other="")
    discover(tmp_path / "three")
    with pytest.raises(ConfigurationError):
        integration("own_to_root")


def test_a_keyboard_interrupt_of_the_files_own_stops_nothing_else(root: Path) -> None:
    """In a child, where Ctrl-C is ignored: it kept the engine from ever getting ready."""
    write(root, bad="raise KeyboardInterrupt\n", good=HEADER + wf("alpha"))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = discover(root, "blue")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (list(found.workflows), failures(found)) == (["alpha"], {"bad.py": "KeyboardInterrupt: "})
