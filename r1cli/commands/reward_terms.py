"""What the options of r1 reward ask for, as judges and their weights; how records are judged is not known here."""

from collections.abc import Collection, Iterator
from typing import Any

from r1cli import ui


def judges(given: dict[str, Any]) -> Iterator[Any]:
    """The rewards that have settings of their own."""
    if shape := given.get("length"):
        from r1cli.rewards.length import LengthJudge

        yield LengthJudge(shape, given.get("max_length"), given.get("length_cache"))
    if "code" in given:
        from r1cli.rewards.code import CodeJudge, CodeOptions

        settings = {
            "sandbox": given.get("sandbox"), "timeout": given.get("code_timeout"), "memory": given.get("code_memory"),
            "partial": given.get("partial"), "jobs": given.get("jobs"), "unsafe": given.get("unsafe_no_sandbox"),
        }  # fmt: skip
        judge = CodeJudge(CodeOptions(**{name: value for name, value in settings.items() if value is not None}))
        ui.say(judge.describe())
        yield judge
    if name := given.get("judge"):
        from r1cli.backend.asking import open_asker
        from r1cli.rewards.model_judge import ModelJudge

        asker = open_asker(name, model=given.get("judge_model"), concurrency=given.get("concurrency"))
        yield ModelJudge("judge", asker, template=given.get("judge_prompt"))


def plugins(given: dict[str, Any], taken: Collection[str]) -> dict[str, Any]:
    """The user's own rewards by their names, none of which is taken."""
    from r1cli.errors import InputError

    settings = {"timeout": given.get("timeout", 10.0), "on_error": given.get("on_error", "fail")}
    found: dict[str, Any] = {}
    for option in ("exec_", "python"):
        for text in given.get(option, ()):
            flag = f"--{option.rstrip('_')} {text}"
            name, equals, what = text.partition("=")
            if option == "python" and not equals:
                name, what = text.rpartition(":")[2], text
            if not name.isidentifier() or not what:
                raise InputError(f"{flag}: expected NAME={'CMD' if option == 'exec_' else 'FILE:FUNC'}, NAME a word")
            if name in found or name in taken:
                raise InputError(f"{flag}: there is a reward {name} already; take another name")
            if option == "exec_":
                from r1cli.rewards.plugins.coprocess import ExecJudge

                found[name] = ExecJudge(name, what, **settings)
            else:
                from r1cli.rewards.plugins.python_function import PythonJudge

                found[name] = PythonJudge(name, what, **settings)
    return found


def weights(given: list[str], names: list[str]) -> dict[str, float]:
    """The weight of each chosen reward, 1 unless given as NAME=W."""
    from r1cli.errors import InputError, nearest

    chosen = dict.fromkeys(names, 1.0)
    for text in given:
        name, _, number = text.partition("=")
        if name not in chosen:
            raise InputError(
                f"--weight {text}: {name} is not among the rewards asked for ({', '.join(names)}){nearest(name, names)}"
            )
        try:
            chosen[name] = float(number)
        except ValueError:
            raise InputError(f"--weight {text}: expected NAME=NUMBER") from None
    return chosen
